"""Pictures of activation functions: curves with their derivative, maps where two inputs enter."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from damagenet.errors import ConfigError
from damagenet.outputs.atomic import appears
from models.activations.build import Setting
from models.activations.moments import exact_layer, fewest_channels, inputs_joined, slopes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
REACH = 5.0
"""Inputs from minus this to this are drawn."""
POINTS = 2001
SIDE = 201
"""Points of a map on each side."""
TALLEST = 6.0
"""Curves leave the picture beyond it."""
FUNCTION, DERIVATIVE = "#17467e", "#c4611d"
COLUMNS = 8
"""Functions side by side on a sheet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One picture of a function.

    Attributes:
        setting: The function.
        joined: How many inputs each output depends on, as `inputs_joined` tells.
        number: Which output, from 0.
        outputs: How many of them are drawn.
    """

    setting: Setting
    joined: int
    number: int
    outputs: int


def draw(setting: Setting, path: Path) -> None:
    """Draw one function with its derivative, or the map of one of two inputs.

    Raises:
        ConfigError: If matplotlib is not installed or the ending of `path` is not known.
        OutputError: If the file cannot be written.
    """
    panels = _panels(setting)
    figure = _figure(path, size_in=(5.4 * len(panels) + 0.6, 4.4))
    figure.set_layout_engine("constrained")
    for axes, panel in zip(_grid(figure, 1, len(panels)), panels, strict=True):
        _draw_panel(axes, panel, detailed=True)
    figure.suptitle(f"{setting.name}: {setting.function.formula}", fontsize=10)
    _save(figure, path)


def draw_sheet(settings: Sequence[Setting], path: Path) -> None:
    """Draw many functions on one sheet, `COLUMNS` in a row.

    Raises:
        ConfigError: If matplotlib is not installed or the ending of `path` is not known.
        OutputError: If the file cannot be written.
    """
    panels = [panel for setting in settings for panel in _panels(setting)]
    rows = -(-len(panels) // COLUMNS)
    figure = _figure(path, size_in=(1.7 * COLUMNS, 1.55 * rows + 0.3))
    # Fixed margins: to fit them to so many labels takes longer than to draw everything.
    figure.subplots_adjust(0.02, 0.01, 0.99, 0.99, wspace=0.22, hspace=0.3)
    places = _grid(figure, rows, COLUMNS)
    for axes, panel in zip(places, panels, strict=False):
        _draw_panel(axes, panel, detailed=False)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    _save(figure, path)


def _figure(path: Path, *, size_in: tuple[float, float]) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise ConfigError(
            "drawing needs matplotlib, which is not installed: pip install 'damagenet[plots]'"
        ) from err
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"cannot draw {path.name}: end it in {', '.join(FORMATS)}")
    return Figure(figsize=size_in)


def _grid(figure: "Figure", rows: int, columns: int) -> list["Axes"]:
    return list(figure.subplots(rows, columns, squeeze=False).flat)


def _save(figure: "Figure", path: Path) -> None:
    with appears(path) as place:
        figure.savefig(place, dpi=120, format=path.suffix[1:].lower())


def _panels(setting: Setting) -> list[_Panel]:
    """Return the pictures that a function needs: a map for each of its outputs, or one."""
    joined = inputs_joined(setting)
    outputs = 1
    if joined == 2:
        channels = fewest_channels(setting)
        outputs = exact_layer(setting, channels)(torch.zeros(1, channels).double()).shape[1]
    return [
        _Panel(setting=setting, joined=joined, number=number, outputs=outputs)
        for number in range(outputs)
    ]


def _draw_panel(axes: "Axes", panel: _Panel, *, detailed: bool) -> None:
    if panel.joined == 2:
        _draw_map(axes, panel.setting, panel.number, detailed=detailed)
    else:
        _draw_curves(axes, panel.setting, alone=panel.joined == 1, detailed=detailed)
    if not detailed:
        which = f" {panel.number + 1}" if panel.outputs > 1 else ""
        axes.set_title(panel.setting.name + which, fontsize=7, pad=2)
        axes.tick_params(labelsize=5, length=2, pad=1)
        # Ticks take most of the time that a sheet needs.
        axes.locator_params(nbins=3)


def _draw_curves(axes: "Axes", setting: Setting, *, alone: bool, detailed: bool) -> None:
    first, curves = _curves(setting, alone=alone)
    below, above = _limits(torch.stack([curve for curve, _ in curves]))
    width = 2.0 if detailed else 1.2
    for number, (curve, slope) in enumerate(curves):
        dashes = ("-", "-.")[number % 2]
        for what, line, colour in (
            ("derivative", slope, DERIVATIVE),
            ("function", curve, FUNCTION),
        ):
            label = f"{what} {number + 1}" if len(curves) > 1 else what
            axes.plot(first, _broken(line), dashes, color=colour, label=label, linewidth=width)
    axes.set_ylim(below, above)
    axes.axhline(0, color="0.6", linewidth=0.6, zorder=0)
    axes.axvline(0, color="0.6", linewidth=0.6, zorder=0)
    if detailed:
        axes.set_xlabel("x" if alone else "first input, the others 0")
        axes.grid(color="0.92", zorder=0)
        axes.legend(edgecolor="none")


def _curves(
    setting: Setting, *, alone: bool
) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Return inputs, and each output over them with its derivative.

    Of a function that is not `alone`, whose outputs depend on other inputs too, it is the first
    output over the first input, with all others at 0.
    """
    channels = fewest_channels(setting) if alone else max(2, fewest_channels(setting))
    first = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
    values = torch.zeros(POINTS, channels, dtype=torch.float64)
    values[:, 0] = first
    result = exact_layer(setting, channels)(values.requires_grad_())
    shown = result.detach()
    if alone:
        return first, list(zip(shown.unbind(1), slopes(values, result).unbind(1), strict=True))
    (steps,) = torch.gradient(shown[:, 0], spacing=(first,))
    return first, [(shown[:, 0], steps)]


def _limits(curves: torch.Tensor) -> tuple[float, float]:
    """Return the lowest and highest value to show: those of the function, within reason."""
    low = max(-TALLEST, min(-1.2, float(curves.min())))
    high = min(TALLEST, max(1.5, float(curves.max())))
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def _broken(curve: torch.Tensor) -> torch.Tensor:
    """Return the curve with a gap where it jumps, so that no steep line is drawn there."""
    steps = curve.diff().abs()
    jumps = steps > 20 * steps.mean() + 0.02
    shown = curve.clone()
    shown[1:][jumps] = torch.nan
    return shown


def _draw_map(axes: "Axes", setting: Setting, number: int, *, detailed: bool) -> None:
    """Draw one output of a function over its two inputs a and b, with lines of equal value."""
    channels = fewest_channels(setting)
    line = torch.linspace(-REACH, REACH, SIDE, dtype=torch.float64)
    b, a = torch.meshgrid(line, line, indexing="ij")
    pairs = torch.stack([a.flatten(), b.flatten()], dim=1).repeat(1, channels // 2)
    values = exact_layer(setting, channels)(pairs)[:, number].detach().view(SIDE, SIDE)
    extreme = min(2 * REACH, float(values.abs().max()))
    levels = [extreme * step / 8 for step in range(-8, 9)]
    # Purple below zero, orange above: told apart also by those who do not see red or green.
    shading = axes.contourf(a, b, values, levels=levels, cmap="PuOr_r", extend="both")
    axes.contour(a, b, values, levels=levels[::2], colors="0.35", linewidths=0.5)
    axes.set_aspect("equal")
    if detailed:
        axes.set_xlabel("a")
        axes.set_ylabel("b")
        axes.figure.colorbar(shading, ax=axes, shrink=0.85)
