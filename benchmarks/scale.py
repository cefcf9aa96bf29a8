"""What a whole coast costs: the tables of `docs/scale.md`, computed from `docs/benchmarks.json`.

    python benchmarks/scale.py [--result docs/benchmarks.json] [--page docs/scale.md]

Every table stands between two markers of the page; the text around them is written by hand.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench_result import Report, read_report
from scale_figures import (
    COMPACT,
    RESNET18,
    TABLES,
    chips_per_core_s,
    codings,
    gpu_chips_per_s,
    grown,
    multiply_adds,
    pages,
    run_records,
)

from damagenet.bundle import read_card
from damagenet.errors import ConfigError

DOCS = Path(__file__).parents[1] / "docs"
AREA_KM2 = 28_000
VOLUME_TB = 3
WINDOWS_A_PART = 512
SCENE_CHIPS = 2304
MACHINE_CORES = 16
GPU_FLOPS = 989e12
"""Dense bfloat16 of one H200, as its maker documents it."""
GPU_SHARES = (0.02, 0.2)
LINES_MB_S = {"one disk or one stream": 100, "an object store beside the machine": 1000}
MEMORY_GB = 16


@dataclass(frozen=True, kw_only=True)
class Coast:
    """How much there is to judge.

    Attributes:
        chips_a_km2: Of the grid without overlap.
        once: Chips that cover the area once.
        stored: Chips that the volume holds, were it all RGB of 8 bits without compression.
    """

    chips_a_km2: float
    once: float
    stored: float

    @classmethod
    def of(cls, width_m: float, height_m: float, size_px: int) -> "Coast":
        """Return the coast in chips of this ground and size."""
        chips_a_km2 = 1e6 / (width_m * height_m)
        return cls(
            chips_a_km2=chips_a_km2,
            once=AREA_KM2 * chips_a_km2,
            stored=VOLUME_TB * 1e12 / (size_px**2 * 3),
        )

    @property
    def passes(self) -> float:
        """How often the volume covers the area."""
        return self.stored / self.once


def coast() -> Coast:
    """Return Harvey's coast in chips of the shipped model."""
    chip = read_card("harvey").chip
    return Coast.of(chip.width_m, chip.height_m, chip.size_px)


def inputs(_: Report) -> Iterator[str]:
    """Yield what the plan takes for given, and what follows of it."""
    there = coast()
    yield "| figure | value | where from |"
    yield "|---|---:|---|"
    yield f"| imagery | {VOLUME_TB} TB | the task: Harvey |"
    yield f"| area | {AREA_KM2:,} km2 | the task: Harvey |"
    yield f"| chips of a km2 | {there.chips_a_km2:.0f} | the chip's ground in the model's card |"
    yield f"| chips that cover the area once | {millions(there.once)} | computed |"
    yield (
        f"| chips in the volume, 8 bits, RGB, no compression | {millions(there.stored)} | "
        "computed; the bands and bits of the imagery are **assumed** |"
    )
    yield f"| so often the volume covers the area | {there.passes:.1f} | computed |"
    yield (
        f"| scenes of {SCENE_CHIPS:,} chips, once | {there.once / SCENE_CHIPS:,.0f} | "
        "computed; their size is that of our largest Houston scene, **assumed** for all |"
    )


def cores(report: Report) -> Iterator[str]:
    """Yield what judging costs on processors."""
    there = coast()
    yield (
        "| network | chips/s of a core | core-hours, area once | core-hours, whole volume | "
        f"machines of {MACHINE_CORES} cores that judge the volume in a day |"
    )
    yield "|---|---:|---:|---:|---:|"
    for network in (COMPACT, RESNET18):
        rate = chips_per_core_s(report, network)
        if rate is None:
            yield f"| {network} | not measured | {there.once:,.0f} / (3600 r) | | |"
            continue
        once, stored = (chips / rate / 3600 for chips in (there.once, there.stored))
        machines = stored / 24 / MACHINE_CORES
        yield f"| {network} | {rate:,.0f} | {once:,.1f} | {stored:,.0f} | {machines:.2f} |"


def gpus(report: Report) -> Iterator[str]:
    """Yield what judging costs on a GPU: as measured, else by an assumption that is told."""
    there = coast()
    yield "| chips/s of a GPU, ResNet-18 | chips/s | GPU-hours, area once | whole volume |"
    yield "|---|---:|---:|---:|"
    rates = {f"{share:.0%} of the peak (**assumed**)": gpu_rate(share) for share in GPU_SHARES}
    if measured := gpu_chips_per_s(report):
        rates = {"measured, from a raster in memory": measured, **rates}
    for words, rate in rates.items():
        once, stored = (chips / rate / 3600 for chips in (there.once, there.stored))
        yield f"| {words} | {rate:,.0f} | {once:.2f} | {stored:.1f} |"


def gpu_rate(share: float) -> float:
    """Return chips per second of a ResNet-18 at a share of the GPU's documented peak."""
    return share * GPU_FLOPS / (2 * multiply_adds(DOCS / "architectures.json", "resnet18"))


def reading(report: Report) -> Iterator[str]:
    """Yield what decoding costs, and how many cores feed a GPU."""
    there, slow = coast(), gpu_rate(GPU_SHARES[0])
    yield (
        "| file | kB a chip | chips/s that a core decodes | core-hours, area once | "
        f"cores that feed {slow:,.0f} chips/s |"
    )
    yield "|---|---:|---:|---:|---:|"
    for coding in codings(report):
        hours = there.once / coding.chips_per_s / 3600
        yield (
            f"| {coding.name} | {coding.bytes_a_chip / 1e3:.1f} | {coding.chips_per_s:,.0f} | "
            f"{hours:.2f} | {slow / coding.chips_per_s:,.1f} |"
        )


def lines(report: Report) -> Iterator[str]:
    """Yield how long the volume takes to come in, and how many cores wait for it."""
    networks = {name: chips_per_core_s(report, name) for name in (COMPACT, RESNET18)}
    largest = max(coding.bytes_a_chip for coding in codings(report))
    heads = " | ".join(f"cores that use it up, {name}" for name in networks)
    yield f"| line (**assumed**) | MB/s | hours for the whole volume | {heads} |"
    yield f"|---|---:|---:|{'---:|' * len(networks)}"
    for name, rate in LINES_MB_S.items():
        full = [
            "" if judged is None else f"{rate * 1e6 / largest / judged:,.1f}"
            for judged in networks.values()
        ]
        hours = VOLUME_TB * 1e6 / rate / 3600
        yield f"| {name} | {rate:,} | {hours:.1f} | {' | '.join(full)} |"


def records(report: Report) -> Iterator[str]:
    """Yield what merging and writing the records of the area costs, one core doing it."""
    there = coast()
    costs = grown(report)
    rows = next(iter(costs.values())).rows
    yield (
        f"| measured with {rows:,} records | records/s | bytes a record | "
        f"core-hours for {millions(there.once)} | GB for {millions(there.once)} |"
    )
    yield "|---|---:|---:|---:|---:|"
    for cost in costs.values():
        rate = cost.rows / cost.processor_s if cost.processor_s else 0.0
        size = f"{cost.size_mb * 1e6 / cost.rows:,.0f}" if cost.size_mb else ""
        total = f"{cost.gigabytes(there.once):.1f}" if cost.size_mb else ""
        yield (f"| {cost.name} | {rate:,.0f} | {size} | {cost.hours(there.once):.2f} | {total} |")


def breaks(report: Report) -> Iterator[str]:
    """Yield what grows faster than the ground or is held whole, and where that ends."""
    there, costs = coast(), grown(report)
    held = costs["buildings and assessments in memory"]
    worst = max((costs[f"merging, writing {name}"] for name in TABLES), key=lambda c: c.peak_mb)
    bytes_a_row = (max(held.peak_mb, 0) + max(worst.peak_mb, 0)) * 1e6 / worst.rows
    page, record = pages(report)[-1], run_records(report)[-1]
    scenes = there.once / SCENE_CHIPS
    yield "| what | measured | at the coast | why |"
    yield "|---|---|---|---|"
    geojson = costs["merging, writing geojson"]
    yield (
        f"| `damage.geojson` | {geojson.rows:,}: {geojson.size_mb:,.0f} MB | "
        f"{geojson.gigabytes(there.once):.1f} GB of cells | one text, which a reader parses whole |"
    )
    yield (
        f"| memory of merging buildings | {worst.rows:,}: {held.peak_mb + worst.peak_mb:,.0f} MB | "
        f"{MEMORY_GB} GB hold {millions(MEMORY_GB * 1e9 / bytes_a_row)} | the buildings' file is "
        "held whole |"
    )
    yield (
        f"| `run.json`, written after every scene | {record.rows:,} scenes: {record.size_mb:.1f} "
        f"MB, {record.processor_s:.2f} s each time | {scenes:,.0f} scenes: "
        f"{all_writings(record.processor_s, record.rows, scenes) / 3600:.2f} core-hours; ten times "
        f"the scenes: {all_writings(record.processor_s, record.rows, 10 * scenes) / 3600:.1f} | "
        "grows with the square of the scenes |"
    )
    yield (
        f"| `report.html` of one scene | {page.rows:,} units: {page.size_mb:.1f} MB, "
        f"{page.processor_s:.1f} s, {page.peak_mb:,.0f} MB of memory | of a scene, not the coast "
        "| a run has no page over all scenes |"
    )
    yield (
        f"| part files | 512 windows each | {there.once / WINDOWS_A_PART:,.0f} | a folder for each "
        "scene keeps them few |"
    )


def all_writings(seconds: float, scenes_then: int, scenes: float) -> float:
    """Return the seconds of writing a file after every scene that grows with every scene.

    Args:
        seconds: Of one writing with `scenes_then` scenes in it.
        scenes_then: Scenes of that one.
        scenes: Of the whole run.
    """
    return seconds / scenes_then * scenes**2 / 2


def millions(value: float) -> str:
    """Return a number in millions, in words."""
    return f"{value / 1e6:.1f} million"


PARTS: dict[str, Callable[[Report], Iterator[str]]] = {
    "inputs": inputs,
    "cores": cores,
    "gpus": gpus,
    "reading": reading,
    "lines": lines,
    "records": records,
    "breaks": breaks,
}


def filled(page: str, report: Report) -> str:
    """Return the page with every table computed anew.

    Raises:
        ConfigError: If it has no place for one, or the result lacks a figure.
    """
    for name, part in PARTS.items():
        begin, end = (f"<!-- benchmarks/scale.py {name} {word} -->" for word in ("begin", "end"))
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ConfigError(f"the page has no place for a table: give it {begin} and {end}")
        before, _, rest = page.partition(begin)
        table = "\n".join(part(report))
        page = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return page


def main() -> None:
    """Write the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--result", type=Path, default=DOCS / "benchmarks.json")
    parser.add_argument("--page", type=Path, default=DOCS / "scale.md")
    arguments = parser.parse_args()
    try:
        report = read_report(arguments.result)
        text = filled(arguments.page.read_text(encoding="utf-8"), report)
    except (ConfigError, OSError) as err:
        sys.exit(str(err))
    arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
