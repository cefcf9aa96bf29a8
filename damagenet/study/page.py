"""The page of a study: plots, tables and remarks in one file that needs no network."""

from pathlib import Path

from damagenet import __version__
from damagenet.outputs.templates import page_template
from damagenet.study.plot import difference_plot, score_plot
from damagenet.study.remarks import headline, network, remarks
from damagenet.study.summary import StudySummary
from damagenet.study.tables import more_tables, split_table

TEMPLATE = "study.html"


def make_page(summary: StudySummary) -> str:
    """Return the page as HTML."""
    return page_template(TEMPLATE, Path(__file__).parent).render(
        version=__version__,
        summary=summary,
        network=network(summary),
        splits=[
            {
                "name": split.split,
                "plots": (score_plot(split), difference_plot(split, summary.baseline)),
                "table": split_table(split, summary.baseline),
                "headline": headline(split, summary.baseline),
            }
            for split in summary.splits
        ],
        more=more_tables(summary),
        remarks=remarks(summary),
    )
