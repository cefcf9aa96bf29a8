"""The bench: everything that is measured, in one go, with JSON and a page.

    python benchmarks/run.py --contenders torchgeo,rastervision --envs DIR
    python benchmarks/run.py --only contest,reading
    python benchmarks/run.py --report-only

Runs every benchmark as a command of its own, one after the other, and writes `docs/benchmarks.json`
and `docs/benchmarks.md`. What fails is reported and stops nothing. With `--only`, sections that
are not named are kept from the JSON that is there. Without `OMP_NUM_THREADS` and the like, all
programs take the threads that torch chooses.
"""

import argparse
import os
import sys
from pathlib import Path

from bench_machine import describe_machine
from bench_page import page, summary
from bench_result import Report, Section, read_report
from bench_sections import Benchmark, measure
from bench_table import BENCHMARKS
from contenders.environments import CONTENDERS

from damagenet.errors import ConfigError

ROOT = Path(__file__).parents[1]
RESULT, TILES = ROOT / "docs" / "benchmarks.json", ROOT / "data" / "harvey"


def bench(arguments: argparse.Namespace) -> Report:
    """Run the chosen benchmarks, write and return the result.

    Sections of an earlier result that were not chosen stay in it.

    Raises:
        ConfigError: If the earlier result cannot be read, or is of another machine.
    """
    machine = describe_machine()
    sections = {} if arguments.smoke else earlier(arguments.out, machine.processor)
    for name in chosen(arguments):
        benchmark = BENCHMARKS[name]
        print(f"{name}: {benchmark.title}", file=sys.stderr)
        section = measure(benchmark, words_of(benchmark, arguments), arguments.smoke)
        told = f"{name}: {section.status} in {section.seconds:.0f} s. {section.note}"
        print(told.strip(), file=sys.stderr)
        sections[name] = section
        in_order = tuple(sections[name] for name in BENCHMARKS if name in sections)
        report = Report(smoke=arguments.smoke, machine=machine, sections=in_order)
        # After every section, so that what was measured stays if the next is interrupted.
        write(report, arguments.out)
    return report


def chosen(arguments: argparse.Namespace) -> list[str]:
    """Return the names of the sections to run, in the order of the page."""
    able = [
        name for name, each in BENCHMARKS.items() if not arguments.smoke or each.smoke is not None
    ]
    return [name for name in able if not arguments.only or name in arguments.only]


def earlier(out: Path, processor: str) -> dict[str, Section]:
    """Return the sections of the result that is there, by name."""
    if not out.exists():
        return {}
    report = read_report(out)
    if report.smoke or report.machine.processor != processor:
        raise ConfigError(
            f"{out} was made {'as a smoke run' if report.smoke else 'on another machine'}: "
            "give another --out, or remove it"
        )
    return {section.name: section for section in report.sections}


def words_of(benchmark: Benchmark, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the command line of a benchmark."""
    if arguments.smoke:
        return benchmark.smoke or ()
    places = {
        "scenes": Path(os.environ.get("DAMAGENET_DATA", "../shared/data")) / "scenes",
        "contenders": ",".join(arguments.contenders),
        "envs": arguments.envs,
    }
    words = [word.format_map(places) for word in benchmark.options]
    if benchmark.repeats:
        words += [benchmark.repeats, str(arguments.runs)]
    if benchmark.tiles and arguments.tiles.exists():
        words += ["--tiles", str(arguments.tiles)]
    return tuple(words)


def write(report: Report, out: Path) -> None:
    """Write the result, and the page beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(page(report), encoding="utf-8")


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help=f"of {','.join(BENCHMARKS)}")
    parser.add_argument(
        "--runs", type=int, default=7, help="of everything that is measured in turns"
    )
    parser.add_argument("--contenders", default="", help=f"of {','.join(CONTENDERS)}")
    parser.add_argument("--envs", type=Path, default=Path("build/bench-envs"), help="their homes")
    parser.add_argument("--tiles", type=Path, default=TILES, help="prepared Harvey tiles, for int8")
    parser.add_argument("--out", type=Path, default=RESULT, help="JSON; the page goes beside it")
    parser.add_argument("--smoke", action="store_true", help="does everything run: needs --out")
    parser.add_argument("--report-only", action="store_true", help="write the page from the JSON")
    arguments = parser.parse_args()
    for name, known in (("only", BENCHMARKS), ("contenders", CONTENDERS)):
        words = [word for word in getattr(arguments, name).split(",") if word]
        if unknown := sorted(set(words) - set(known)):
            parser.error(f"--{name}: unknown {unknown[0]!r}, choose of {', '.join(known)}")
        setattr(arguments, name, words)
    if not arguments.report_only and not chosen(arguments):
        parser.error("--smoke leaves these sections out: name others with --only")
    if arguments.runs < 1:
        parser.error(f"--runs must be at least 1, got {arguments.runs}")
    if arguments.smoke and arguments.out == RESULT:
        parser.error("--smoke makes figures that mean nothing: give --out FILE")
    return arguments


def main() -> None:
    """Measure, write, and exit with 1 where a section failed or a bar was missed."""
    arguments = parsed()
    try:
        if arguments.report_only:
            report = read_report(arguments.out)
            write(report, arguments.out)
        else:
            report = bench(arguments)
    except (ConfigError, OSError) as err:
        sys.exit(str(err))
    print(summary(report))
    print(f"{arguments.out} and {arguments.out.with_suffix('.md')} are written", file=sys.stderr)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
