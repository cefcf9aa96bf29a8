"""Results of the bench, made by hand; `module` imports a file of benchmarks/ by its name."""

from pathlib import Path

FOLDER = Path("benchmarks")


def section(module, **changes):
    fields = {
        "name": "contest",
        "title": "Against others",
        "words": "What was done.",
        "status": "measured",
        "date": "2026-01-01T00:00:00+00:00",
        "commit": "abc",
        "load_average": 0.1,
    }
    return module("bench_result").Section(**fields | changes)


def report(module, *sections):
    result, machine = module("bench_result"), module("bench_machine")
    return result.Report(machine=machine.describe_machine(), sections=sections)
