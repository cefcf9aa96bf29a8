"""What every output says of probabilities: calibrated, promised, strange, or not."""

import json
import sqlite3
from contextlib import closing

import pyarrow.parquet as pq
import pytest
import rasterio
from assessments import make_assessment, make_card
from tiny_run import make_bundle, make_scene

from damagenet.card import Calibration, Confidence, Event, Strangeness
from damagenet.cli.assess_summary import summary_lines
from damagenet.engine.batch import assess_scenes
from damagenet.labels import Kind
from damagenet.options import AssessOptions
from damagenet.outputs.summary import summarise
from damagenet.outputs.trust import run_trust, trust
from damagenet.rules import Rules

SURE = Confidence(damaged=(3.0,) * 60, undamaged=(-3.0,) * 60)
USUAL = Strangeness(typical=0.1, limit=1.38, blocks=13, measured_on="made")
NEAR_ERRORS = Confidence(damaged=(-0.5,) * 30 + (4.0,) * 100, undamaged=(-4.0,) * 100)


MADE_SCENE = "f" * 64
"""What made assessments keep as the hash of their scene."""


def event(*scenes, random=60, hashes=(MADE_SCENE,), units=Kind.BUILDING):
    return Event(
        scenes=scenes, base="harvey@00000000", fitted=90, aside=60, aside_damaged=20,
        aside_random=random, scene_sha256=hashes, units=units,
    )  # fmt: skip


@pytest.fixture
def assessed(tmp_path):
    """Return an assessment of `scene.tif` by a card with these fields."""

    def make(distance=None, prior=None, max_error=None, stem="scene", kind="building", **fields):
        prior_of_labels = 0.4
        if margins := fields.get("confidence"):
            prior_of_labels = len(margins.damaged) / (len(margins.damaged) + len(margins.undamaged))
        calibration = Calibration(fitted_on="300 made tiles", prior=prior_of_labels)
        card = make_card().model_copy(update={"calibration": calibration} | fields)
        made = make_assessment(tmp_path / stem, kind=kind, card=card)
        options = AssessOptions(prior=prior, max_error=max_error)
        changes = {"options": options, "strangeness": distance, "stem": stem}
        return made.model_copy(update=changes)

    return make


# ---- calibration


def test_a_model_that_knows_no_event_says_what_it_was_calibrated_on(assessed):
    assert trust(assessed())["calibration"] == (
        "Not calibrated for this event: probabilities were calibrated on 300 made tiles; "
        "probabilities assume that 40 % are damaged."
    )
    assert trust(assessed(prior=0.05))["calibration"].endswith("; --prior re-weights them to 5 %.")


def test_random_labels_of_the_scene_are_a_calibration_for_it(assessed):
    assert trust(assessed(event=event("scene", "other")))["calibration"] == (
        "Calibrated for this event: on 60 labels of scene, other, drawn at random; "
        "probabilities assume that 40 % are damaged."
    )


def test_labels_that_were_picked_calibrate_for_no_event(assessed):
    said = trust(assessed(event=event("scene", random=20)))["calibration"]
    assert said.startswith("Not calibrated for this event: ")
    assert "60 labels of scene, of which 20 were drawn at random" in said


def test_labels_of_other_scenes_name_them(assessed):
    said = trust(assessed(event=event(*"abcdefg", hashes=("0" * 64,))))["calibration"]
    assert said.startswith("Not calibrated for this event: ")
    assert (
        "60 labels of a, b, c, d, e and 2 more, drawn at random, and none of them lies on" in said
    )


@pytest.mark.parametrize(
    ("event_fields", "fields", "why"),
    [
        ({"hashes": ("0" * 64,)}, {}, "and none of them lies on this file of scene"),
        ({"hashes": (), "units": None}, {}, "and the card keeps no hash of their scenes"),
        ({}, {"kind": "cell"}, "which are of buildings and say nothing of cells"),
        ({}, {"distance": 2.3}, "but this scene looks unlike the training ground"),
    ],
    ids=["another file of that name", "an old card", "cells", "a strange scene"],
)
def test_a_scene_s_name_alone_is_no_calibration_and_no_promise(assessed, event_fields, fields, why):
    known = {"strangeness": USUAL, "confidence": NEAR_ERRORS, "max_error": 0.05}
    made = assessed(event=event("scene", **event_fields), **({"distance": 1.0} | known | fields))
    said = trust(made)
    assert said["calibration"].startswith("Not calibrated for this event: ")
    assert f"60 labels of scene, drawn at random, {why}" in said["calibration"]
    assert "not promised here" in said["confidence"]
    assert not summarise(made).errors_promised
    assert summarise(assessed(1.0, event=event("scene"), **known)).errors_promised


# ---- confidence


@pytest.mark.parametrize(
    ("fields", "promised"),
    [
        ({"event": event("scene")}, True),
        ({"event": event("scene", random=59)}, False),
        ({"event": event("scene", hashes=("0" * 64,))}, False),
        ({}, False),
    ],
)
def test_errors_are_promised_to_random_labels_of_the_scene_alone(assessed, fields, promised):
    made = assessed(max_error=0.05, confidence=NEAR_ERRORS, **fields)
    said = trust(made)["confidence"]
    assert said.startswith("Probabilities between 0.0953 and 0.905 are uncertain")
    assert "at most 5 % of the damaged and undamaged verdicts are wrong" in said
    assert "with 90 % certainty" in said
    assert ("not promised here" not in said) == promised
    assert summarise(made).errors_promised == promised


def test_what_cannot_be_kept_is_said_and_not_promised(assessed):
    few = Confidence(damaged=(3.0,) * 20, undamaged=(-3.0,) * 10)
    made = assessed(max_error=0.05, confidence=few, event=event("scene"))
    assert trust(made)["confidence"] == (
        "Everything is uncertain: to keep errors under 5 % takes at least 59 calibration labels, "
        "and there are 30. The smallest --max-error that lets verdicts stand is 0.1; to keep fewer "
        "errors, calibrate on more labels of this event, drawn at random (damagenet suggest, then "
        "adapt)."
    )
    assert not summarise(made).errors_promised
    wrong = Confidence(damaged=(-3.0,) * 60, undamaged=(3.0,) * 60)
    said = trust(assessed(max_error=0.05, confidence=wrong))["confidence"]
    assert "no band of doubt keeps errors under 5 % on the 120 calibration labels" in said
    assert "No --max-error under 0.5 lets any verdict stand; to keep fewer errors" in said


def test_the_share_of_errors_that_is_advised_lets_verdicts_stand_and_none_below_it_does(assessed):
    # Of 140 verdicts as far from the threshold as any, 7 are wrong: 9.2 % may be, by 95 to 5.
    far = Confidence(damaged=(-5.0,) * 7 + (5.0,) * 33, undamaged=(-5.0,) * 100)
    made = assessed(max_error=0.05, confidence=far)
    assert "is 0.1;" in trust(made)["confidence"]
    for max_error, kept in ((0.09, "not kept"), (0.1, "kept")):
        options = AssessOptions(max_error=max_error)
        assert Rules.of(made.card, options).kept == kept


def test_a_run_in_which_all_will_be_uncertain_says_so_before_it_reads_a_scene(tmp_path, caplog):
    few = Confidence(damaged=(3.0,) * 20, undamaged=(-3.0,) * 10)
    make_bundle(tmp_path / "toy", confidence=few)
    options = AssessOptions(model=str(tmp_path / "toy"), max_error=0.05, format=("csv",))
    missing = tmp_path / "nowhere.tif"
    assert assess_scenes([missing], tmp_path / "out", options).failures
    first = caplog.messages[0]
    assert first.startswith("Everything is uncertain: to keep errors under 5 % takes at least 59")


def test_nothing_is_said_of_errors_that_nobody_asked_about(assessed):
    assert set(trust(assessed(confidence=SURE))) == {"calibration", "strangeness"}


def test_a_promise_at_another_prior_depends_on_it(assessed):
    made = assessed(max_error=0.1, prior=0.4, confidence=SURE, event=event("scene"))
    assert trust(made)["confidence"].startswith("No probability is uncertain: ")
    assert trust(made)["confidence"].endswith(", if --prior is right.")


# ---- strangeness


def test_a_strange_scene_is_said_to_be_with_the_number_behind_it(assessed):
    assert trust(assessed(2.3, strangeness=USUAL))["strangeness"] == (
        "This scene looks unlike the training ground: distance 2.30, where 95 % of the held-out "
        "blocks of ground lie below 1.38. Probabilities and measured rates may not hold here."
    )
    said = trust(assessed(1.38, strangeness=USUAL))["strangeness"]
    assert said.startswith("This scene looks like the training ground: distance 1.38, where")


def test_what_was_not_measured_is_said_to_be_not_measured(assessed):
    assert "was not measured: the model keeps nothing" in trust(assessed())["strangeness"]
    assert "not measured: no chip" in trust(assessed(strangeness=USUAL))["strangeness"]


def test_a_run_names_its_strange_scenes_once(assessed):
    scenes = [assessed(d, strangeness=USUAL, stem=n) for n, d in (("a", 0.9), ("b", 2.1), ("c", 1))]
    assert run_trust(scenes)["strangeness"] == (
        "1 of 3 scenes look unlike the training ground: distance b 2.10, where 95 % of the "
        "held-out blocks of ground lie below 1.38. Probabilities and measured rates may not hold "
        "there. The other 2 look like the training ground: distance 0.90 to 1.00."
    )
    alike = run_trust([scenes[0], scenes[2]])["strangeness"]
    assert alike.startswith("All 2 scenes look like the training ground: distance 0.90 to 1.00,")
    assert run_trust(scenes)["calibration"] == trust(scenes[0])["calibration"]


def test_a_run_names_the_scenes_of_sentences_that_differ(assessed):
    calibrated = assessed(event=event("scene"))
    other = assessed(stem="other")
    said = run_trust([calibrated, other])["calibration"]
    assert said.startswith("scene: Calibrated for this event")
    assert "other: Not calibrated for this event" in said


# ---- in every output


def test_every_output_says_the_same(tmp_path):
    make_bundle(tmp_path / "toy", compares=True, confidence=SURE)
    scene = make_scene(tmp_path / "a.tif")
    options = AssessOptions(
        model=str(tmp_path / "toy"),
        max_error=0.05,
        prior=0.2,
        format=("gpkg", "geojson", "parquet", "cog", "html"),
    )
    result = assess_scenes([scene], tmp_path / "out", options)
    folder = tmp_path / "out" / "a"
    said = trust(result.assessments[0])
    assert set(said) == {"calibration", "confidence", "strangeness"}
    assert json.loads((folder / "summary.json").read_text())["trust"] == said
    (run,) = json.loads((tmp_path / "out" / "run.json").read_text())["runs"]
    assert run["scenes"][0]["trust"] == said
    terminal = summary_lines(result)
    assert all(sentence in terminal for sentence in said.values())
    page = (folder / "report.html").read_text()
    first_screen = page[: page.index('aria-label="Counts"')]
    assert all(sentence in first_screen for sentence in said.values())
    with rasterio.open(folder / "damage.tif") as raster:
        assert raster.tags().items() >= said.items()
    for place in (folder, tmp_path / "out"):
        collection = json.loads((place / "damage.geojson").read_text())
        assert collection["damagenet"].items() >= said.items()
        stored = pq.read_schema(place / "damage.parquet").metadata or {}
        metadata = pq.read_metadata(place / "damage.parquet").metadata | stored
        assert json.loads(metadata[b"damagenet"]).items() >= said.items()
        with closing(sqlite3.connect(place / "damage.gpkg")) as database:
            texts = [row[0] for row in database.execute("SELECT metadata FROM gpkg_metadata")]
        assert all(any(sentence in text for text in texts) for sentence in said.values())
