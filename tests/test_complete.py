"""An older bundle gets what its card lacks, and nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_tiles import make_recipe, make_tiles

from damagenet.adapt.strangeness import _measured_anew
from damagenet.bundle import find_bundle, load_bundle, read_card
from damagenet.card import Event
from damagenet.errors import DataError, OutputError
from damagenet.strangeness import NEIGHBOURS_FILE
from damagenet.training.complete import complete_bundle
from damagenet.training.train import train

LATER = ("event", "confidence", "strangeness")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a bundle whose 24 validation tiles lie in enough blocks to be compared with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("damagenet.strangeness.BLOCK_TILES", 2)
        folder = tmp_path_factory.mktemp("made")
        return train(make_recipe(), folder, tiles=make_tiles(), progress=False)


@pytest.fixture
def older(made, tmp_path, monkeypatch):
    """Return the folder of the same bundle as an earlier version wrote it."""
    monkeypatch.setattr("damagenet.strangeness.BLOCK_TILES", 2)
    folder = tmp_path / "older"
    folder.mkdir()
    for path in made.folder.iterdir():
        if path.name != NEIGHBOURS_FILE:
            (folder / path.name).write_bytes(path.read_bytes())
    rewrite(folder, dict.fromkeys(LATER))
    return folder


def rewrite(folder, changes):
    path = folder / "card.json"
    values = json.loads(path.read_text()) | changes
    values = {name: value for name, value in values.items() if value is not None}
    values["calibration"].pop("prior", None)
    path.write_text(json.dumps(values))


def test_a_training_keeps_its_margins_and_its_neighbours(made):
    card = made.card
    assert len(card.confidence.damaged) == len(card.confidence.undamaged) == 12
    assert card.calibration.prior == card.prior == 0.5
    assert card.strangeness.blocks >= 5
    assert card.strangeness.measured_on == "validation part of published, 24 tiles"
    assert len(made.neighbours.directions) == 64
    assert (made.folder / NEIGHBOURS_FILE).exists()


@pytest.mark.parametrize("in_place", [False, True])
def test_what_was_lacking_comes_back_and_the_rest_stays(made, older, tmp_path, in_place):
    assert load_bundle(older).neighbours is None
    out = older if in_place else tmp_path / "completed"
    returned = complete_bundle(older, out, make_tiles())
    completed = load_bundle(out)
    assert completed.card == returned == made.card
    for name in ("model.safetensors", "training_tiles.parquet", NEIGHBOURS_FILE):
        assert (out / name).read_bytes() == (made.folder / name).read_bytes()


def test_a_recipe_that_leads_to_other_tiles_is_refused(older, tmp_path):
    recipe = json.loads((older / "card.json").read_text())["recipe"]
    recipe["data"]["limit"] = 40
    rewrite(older, {"recipe": recipe})
    with pytest.raises(DataError, match=r"trains on \d+ of these tiles, and not on the 64"):
        complete_bundle(older, tmp_path / "completed", make_tiles())
    assert not (tmp_path / "completed").exists()


def test_an_adapted_bundle_is_adapted_again_instead(older, tmp_path):
    event = Event(scenes=("a", "b"), base="x@1", fitted=9, aside=9, aside_damaged=3, aside_random=9)
    rewrite(older, {"event": event.model_dump(mode="json")})
    with pytest.raises(DataError, match="was adapted to a, b: adapt it again instead"):
        complete_bundle(older, tmp_path / "completed", make_tiles())


def test_stages_that_learned_are_measured_anew_on_the_tiles_of_the_base(made, monkeypatch, caplog):
    monkeypatch.setattr("damagenet.strangeness.BLOCK_TILES", 2)
    usual, neighbours = _measured_anew(made, made.network, make_tiles())
    assert usual == made.card.strangeness.model_copy(update={"neighbours_sha256": ""})
    torch.testing.assert_close(neighbours.directions, made.neighbours.directions)
    data = made.card.recipe.data.model_copy(update={"limit": 40})
    recipe = made.card.recipe.model_copy(update={"data": data})
    other = replace(made, card=made.card.model_copy(update={"recipe": recipe}))
    assert _measured_anew(other, made.network, make_tiles()) == (None, None)
    assert "not measured: the recipe of" in caplog.text


def test_a_folder_that_is_there_is_left_alone(older, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError, match="mine is there already: name another folder"):
        complete_bundle(older, tmp_path / "mine", make_tiles())
    assert not any((tmp_path / "mine").iterdir())


def test_the_shipped_bundle_is_complete_and_small():
    card, folder = read_card("harvey"), find_bundle("harvey")
    assert card.strangeness is not None
    assert card.confidence is not None
    labels = len(card.confidence.damaged) + len(card.confidence.undamaged)
    assert f"{labels} tiles" in card.calibration.fitted_on
    assert card.prior == pytest.approx(len(card.confidence.damaged) / labels)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 15e6
    assert np.isfinite(card.confidence.damaged).all()
