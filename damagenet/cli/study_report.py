"""What a study came to: files beside its rows, a page of ours, the terminal."""

import sys
from pathlib import Path

from damagenet.cli.study_tables import print_summary
from damagenet.study.embed import write_into
from damagenet.study.judging import summarise
from damagenet.study.report import write_reports
from damagenet.study.rows import StudyFolder
from damagenet.study.settings import StudySettings


def report(
    settings: StudySettings, folder: StudyFolder, into: Path | None, *, as_json: bool
) -> None:
    """Write the reports of the rows that are there, and print their tables.

    Args:
        settings: Of the study.
        folder: Holds the rows.
        into: Markdown page that gets the results too.
        as_json: Print JSON instead of tables.

    Raises:
        OutputError: If a file cannot be written.
    """
    summary = summarise(settings, folder.rows())
    paths = write_reports(folder.out, summary)
    if into:
        write_into(into, summary)
        paths.append(into)
    sys.stderr.write("".join(f"written: {path}\n" for path in paths))
    if as_json:
        sys.stdout.write(summary.model_dump_json(indent=2) + "\n")
    else:
        print_summary(summary)
