"""What is known of an activation function, as text and as values for JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib.resources import files

from damagenet.errors import ConfigError
from models.activations import ALIASES
from models.activations.build import Setting
from models.activations.moments import Moments, fewest_channels, moments

Facts = dict[str, object]
SURE = {
    "confirmed": "by the authors' text or code",
    "survey": "by surveys or other implementations",
    "standard": "as in textbooks and torch",
    "assumed": "in part, where no source could be read: see the note",
}


def facts(setting: Setting) -> Facts:
    """Return what the table says of a function."""
    function = setting.function
    return {
        "formula": function.formula,
        "parameters": {key: _parameter_facts(setting, key) for key in setting.numbers},
        "choices": {key: list(words) for key, words in function.words.items()},
        "counts": {
            key: {"start": setting.counts[key], "low": count.low, "high": count.high}
            for key, count in function.counts.items()
        },
        "per": setting.per if setting.trained else None,
        "channels": channels(setting),
        "smoothness": function.smoothness,
        "degree": function.degree,
        "source": function.source,
        "status": function.status,
        "transcendentals": function.transcendentals,
        "cost": costs().get(base_name(setting), {}),
        "slope_recovery": function.slope_recovery,
        "other_names": other_names(setting),
        "note": function.note,
    }


def all_facts(setting: Setting) -> Facts:
    """Return what the table says of a function, and its moments."""
    return {"name": setting.name, **facts(setting), "moments": asdict(start_moments(setting))}


def fact_lines(setting: Setting) -> list[str]:
    """Return all that is known of a function, a line each."""
    function, found = setting.function, start_moments(setting)
    entering, leaving = channels(setting)
    base = base_name(setting)
    rows = [
        ("formula", function.formula),
        ("is", f"{base} with {_settings_text(ALIASES[setting.name][1])}")
        if base != setting.name
        else None,
        ("parameters", parameters_text(setting) or "none"),
        *((key, f"one of {', '.join(words)}") for key, words in function.words.items()),
        *(
            (key, f"{setting.counts[key]} at first; a whole number within {each.low}..{each.high}")
            for key, each in function.counts.items()
        ),
        ("channels", f"{entering} become {leaving}") if entering != leaving else None,
        ("smoothness", function.smoothness),
        ("source", f"{function.source} ({function.status}: {SURE[function.status]})"),
        ("cost", cost_text(setting)),
        (
            "on N(0, 1)",
            f"mean {_rounded(found.mean)}, sd {found.sd:.4f}, square {found.second:.4f}",
        ),
        ("", f"slope squared {found.slope_second:.4f}") if found.slope_second is not None else None,
        ("", "drawn, good to 3 digits") if found.sampled else None,
        ("slope", slope_text(setting)),
        ("gain", f"{found.gain:.4f}: init `he` starts weights at N(0, gain^2 / fan_in)"),
        ("loss", "adds its slope-recovery term") if function.slope_recovery else None,
        ("grows", f"like |x|^{function.degree:g}") if function.degree > 1 else None,
        ("other names", ", ".join(other_names(setting))) if other_names(setting) else None,
        ("note", function.note) if function.note else None,
    ]
    return [setting.name, *(f"  {row[0]:<13}{row[1]}" for row in rows if row)]


def base_name(setting: Setting) -> str:
    """Return the function that another name stands for."""
    return ALIASES[setting.name][0] if setting.name in ALIASES else setting.name


def other_names(setting: Setting) -> list[str]:
    """Return the names that stand for a function with some parameters set."""
    base = base_name(setting)
    return sorted(name for name, (of, _) in ALIASES.items() if of == base != name)


def channels(setting: Setting) -> tuple[int, int]:
    """Return the fewest channels that can enter, and how many then come out."""
    entering = fewest_channels(setting)
    leaving = (count for count in range(1, 1 + 2 * entering) if _gives(setting, count) == entering)
    return entering, next(leaving)


def parameters_text(setting: Setting) -> str:
    """Return the parameters with their start values, a star at those that are trained."""
    numbers = [_number_text(setting, key) for key in setting.numbers]
    words = [f"{key} {value}" for key, value in {**setting.words, **setting.counts}.items()]
    reach = [f"per {setting.per}"] if setting.trained else []
    return ", ".join([*numbers, *words]) + "".join(f" {each}" for each in reach)


def cost_text(setting: Setting) -> str:
    """Return what a function costs: measured where that was done, else what it computes."""
    measured = costs().get(base_name(setting), {})
    calls = setting.function.transcendentals
    needed = f"{calls} transcendental call{'' if calls == 1 else 's'}"
    return ", ".join(f"{ratio:.2f} x SiLU ({where})" for where, ratio in measured.items()) or needed


def slope_text(setting: Setting) -> str:
    """Return the slope of the variance map in words."""
    slope = start_moments(setting).variance_slope
    if math.isclose(slope, 1, abs_tol=1e-3):
        becomes = "stays as it is"
    else:
        becomes = "shrinks" if abs(slope) < 1 else "grows"
    return f"{_rounded(slope)}: an error of the variance {becomes} from layer to layer"


@lru_cache(maxsize=1)
def costs() -> dict[str, dict[str, float]]:
    """Return the measured time of forward and backward as a multiple of SiLU's, by function."""
    path = files("models.activations") / "costs.json"
    if not path.is_file():
        return {}
    table: dict[str, dict[str, float]] = {}
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        where = f"{row['device']} {row['dtype']}"
        table.setdefault(row["name"], {})[where] = round(row["both_to_silu"], 2)
    return table


def start_moments(setting: Setting) -> Moments:
    """Return the moments of a function at the start values of its parameters."""
    return moments(setting.name)


def _gives(setting: Setting, leaving: int) -> int | None:
    try:
        return setting.width(leaving)
    except ConfigError:
        return None


def _parameter_facts(setting: Setting, key: str) -> Facts:
    parameter = setting.function.parameters_of(setting.counts)[key]
    return {
        "start": _finite(setting.numbers[key]),
        "learned": key in setting.trained,
        "range": parameter.range,
    }


def _finite(number: float) -> float | None:
    """Return a number that JSON can hold; a parameter that waits for its value has none."""
    return number if math.isfinite(number) else None


def _number_text(setting: Setting, key: str) -> str:
    number = setting.numbers[key]
    value = f"{number:.4g}" if math.isfinite(number) else "from the input"
    return f"{key} {value}{'*' if key in setting.trained else ''}"


def _rounded(number: float) -> str:
    """Return four decimals, without the minus sign of a zero."""
    return f"{round(number, 4) + 0.0:.4f}"


def _settings_text(preset: Mapping[str, float | int | str | bool]) -> str:
    return ", ".join(f"{key}={value}" for key, value in preset.items())
