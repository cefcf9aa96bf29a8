"""What a study says of its rows: words, tables, remarks, CSV, Markdown and the page."""

import csv
import io
import math
import xml.etree.ElementTree as Xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_studies import STEP, finish, five_seeds, shifted, summary_of

from damagenet.study.judging import summarise
from damagenet.study.page import make_page
from damagenet.study.plot import difference_plot, round_values, score_plot
from damagenet.study.remarks import headline, remarks
from damagenet.study.report import summary_csv, summary_markdown, write_reports
from damagenet.study.statistics import half_width
from damagenet.study.tables import cost_table, difference_text, split_table, tuning_table


def verdicts(summary, place=0):
    return {one.variant: one.verdict for one in summary.splits[place].outcomes}


def test_words_are_said_where_the_difference_is_more_than_chance():
    summary = summary_of({"silu": 0.03, "mish": -0.03, "gelu": -0.0001})
    said = {
        "relu": "baseline",
        "silu": "better",
        "mish": "worse",
        "gelu": "no difference shown",
    }
    assert verdicts(summary) == verdicts(summary, 1) == said
    split = summary.splits[0]
    assert [one.variant for one in split.outcomes] == ["silu", "relu", "gelu", "mish"]
    assert headline(split, "relu") == "Better than relu: silu; worse than relu: mish."
    assert split.outcomes[0].difference.mean == pytest.approx(0.03)
    assert split.family == 3


def test_no_word_is_said_before_all_runs_are_there():
    summary = summary_of({"silu": 0.03}, most=12)
    assert summary.done == 12
    assert set(verdicts(summary).values()) == {"baseline", "not finished"}
    assert "Not finished" in headline(summary.splits[0], "relu")
    assert "Unfinished: 12 of 44 runs." in remarks(summary)


def test_failed_runs_are_counted_and_take_the_word_away():
    study = five_seeds()
    score = shifted({"silu": 0.03})

    def diverging(run):
        gone = (run.variant.label, run.seed) == ("silu", 3) or run.variant.label == "mish"
        return None if gone else score(run)

    summary = summarise(study, finish(study, diverging).values())
    assert verdicts(summary)["silu"] == "no word: 1 failed"
    assert verdicts(summary)["mish"] == "no word: every learning rate failed"
    assert summary.done == summary.total
    silu = next(one for one in summary.splits[0].outcomes if one.variant == "silu")
    assert (silu.done, silu.failed, silu.missing, silu.difference.n) == (4, 1, 0, 4)
    # Both rates of mish, and seed 3 of silu on two splits.
    assert summary.failed == 4


def test_a_failing_baseline_leaves_no_word_at_all():
    study = five_seeds()
    summary = summarise(study, finish(study, shifted({"relu": None})).values())
    assert set(verdicts(summary).values()) == {"baseline", "no word: relu failed"}
    assert all(one.difference is None for one in summary.splits[0].outcomes)


def test_rows_of_other_settings_are_counted_and_not_used():
    study = five_seeds()
    rows = finish(study, shifted({})) | finish(five_seeds(learning_rates=[5e-3]), shifted({}))
    summary = summarise(study, rows.values())
    assert (summary.done, summary.strangers) == (44, 40)
    assert any("40 more rows belong to other settings" in line for line in remarks(summary))


def test_an_empty_study_has_reports_that_say_so(tmp_path):
    summary = summarise(five_seeds(), [])
    paths = write_reports(tmp_path, summary)
    assert [path.name for path in paths] == ["summary.csv", "study.md", "study.html"]
    assert "Unfinished: 0 of 44 runs." in (tmp_path / "study.md").read_text()


def test_a_rate_at_the_edge_of_the_list_is_told():
    study = five_seeds(learning_rates=[1e-4, 1e-3, 1e-2])
    rows = finish(study, lambda run: run.lr if run.variant.label == "mish" else 0.5)
    summary = summarise(study, rows.values())
    assert [tuning.variant for tuning in summary.tuning if tuning.at_edge] == ["mish"]
    assert any(line.endswith("may lie beyond: mish.") for line in remarks(summary))
    assert tuning_table(summary).rows[2] == ("mish", "0.01", "0.10", "1.00*")


def test_it_is_said_how_small_a_difference_could_have_been_seen():
    summary = summary_of({})
    (line,) = [line for line in remarks(summary) if line.startswith("published: with 5 seeds")]
    spread = STEP * math.sqrt(2.5)
    expected = half_width(spread, 5, family=3)
    assert f"3 comparisons a difference had to reach about {100 * expected:.2f} points" in line
    assert summary.splits[0].findable > expected


def test_times_are_compared_on_the_same_machine_only():
    study = five_seeds()
    rows = finish(study, shifted({}))
    elsewhere = {
        key: row.model_copy(update={"hardware": "another", "seconds_per_epoch": 60.0})
        if row.variant == "silu" and row.seed
        else row.model_copy(update={"seconds_per_epoch": 9.0 if row.variant == "silu" else 6.0})
        for key, row in rows.items()
    }
    summary = summarise(study, elsewhere.values())
    assert {cost.variant: cost.relative_time for cost in summary.costs}["silu"] == 1.5
    assert cost_table(summary).rows[0] == ("relu", "relu", "0.001", "6.0", "1.00", "8", "900", "99")
    assert set(summary.hardware) == {"a machine, 2 cores, 1 thread(s)", "another, 1 thread(s)"}


def test_the_tables_say_scores_in_per_cent_and_differences_in_points():
    summary = summary_of({"silu": 0.03})
    table = split_table(summary.splits[0], "relu")
    assert table.headings[:5] == (
        "variant",
        "accuracy %",
        "minus relu, points",
        "p (Holm)",
        "verdict",
    )
    silu = table.rows[0]
    difference = summary.splits[0].outcomes[0].difference
    assert silu[0] == "silu"
    assert silu[2] == difference_text(difference)
    assert silu[2].startswith("+3.00 (+2.9")
    assert (silu[3], silu[4]) == ("<0.001", "better")
    assert split_table(summary.splits[1], "relu").headings[1] == "balanced accuracy %"


def test_the_markdown_is_tables_of_equal_width():
    text = summary_markdown(summary_of({"silu": 0.03}))
    assert text.count("### ") == 5
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count(" | ") for line in block.splitlines()}) == 1
    assert "| silu | 93.0" in text


def test_the_csv_holds_every_split_and_activation():
    summary = summary_of({"silu": 0.03}, most=30)
    rows = list(csv.DictReader(io.StringIO(summary_csv(summary))))
    assert len(rows) == 8
    first = next(row for row in rows if row["variant"] == "silu")
    assert float(first["difference"]) == pytest.approx(0.03, abs=0.001)
    assert float(first["simultaneous_low"]) <= float(first["difference_low"])
    baseline = next(row for row in rows if row["variant"] == "relu")
    assert (baseline["difference"], baseline["verdict"]) == ("", "baseline")


def test_the_page_needs_nothing_from_outside_and_escapes_names():
    study = five_seeds(activations=["relu", {"name": "silu", "label": "<b>&x"}])
    page = make_page(summarise(study, finish(study, shifted({"<b>&x": 0.03})).values()))
    assert "&lt;b&gt;&amp;x" in page
    assert "<b>&x" not in page
    assert "<script" not in page
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_plots_are_well_formed_and_mark_every_word():
    split = summary_of({"silu": 0.03, "mish": -0.03, "gelu": 0.0001}).splits[0]
    for plot in (score_plot(split), difference_plot(split, "relu")):
        drawing = Xml.fromstring(plot.svg)
        kinds = [group.get("class") for group in drawing.iter("g")]
        assert kinds == ["better", "plain", "baseline", "worse"]
        assert plot.labels == ("silu", "gelu", "relu", "mish")
        places = [float(dot.get("cx")[:-1]) for dot in drawing.iter("circle")]
        assert all(0 <= place <= 100 for place in places)
    assert len(list(Xml.fromstring(score_plot(split).svg).iter("circle"))) == 20


@settings(max_examples=50)
@given(st.floats(-1, 1), st.floats(1e-6, 10))
def test_an_axis_has_a_few_round_values_within_its_ends(low, width):
    values = round_values(low, low + width)
    assert 1 <= len(values) <= 5
    assert values == sorted(set(values))
    assert all(low - 1e-9 <= value <= low + width + 1e-9 for value in values)
