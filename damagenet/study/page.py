"""The page of a study: plots, tables and remarks in one file that needs no network."""

from importlib.resources import files
from pathlib import Path

import jinja2

from damagenet import __version__
from damagenet.study.plot import difference_plot, score_plot
from damagenet.study.remarks import headline, remarks
from damagenet.study.summary import StudySummary
from damagenet.study.tables import cost_table, split_table, tuning_table

TEMPLATE = "study.html"
STYLE_FROM = "damagenet.outputs"
"""Room whose style sheet the page shares."""


def make_page(summary: StudySummary) -> str:
    """Return the page as HTML."""
    return _template().render(
        version=__version__,
        summary=summary,
        splits=[
            {
                "name": split.split,
                "plots": (score_plot(split), difference_plot(split, summary.baseline)),
                "table": split_table(split, summary.baseline),
                "headline": headline(split, summary.baseline),
            }
            for split in summary.splits
        ],
        more=(cost_table(summary), tuning_table(summary)),
        remarks=remarks(summary),
    )


def _template() -> jinja2.Template:
    folders = [Path(__file__).parent, Path(str(files(STYLE_FROM)))]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)
