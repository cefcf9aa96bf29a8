"""Bundles: written whole, read with suspicion, each refusal in its own words."""

import json
import pickle
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
from made_tiles import SIDE_PX
from safetensors.torch import load_file, save_file

import damagenet.bundle as bundles
from damagenet.bundle import file_sha256, load_bundle, read_card, shipped_bundles
from damagenet.bundle_writing import replace_folder, save_bundle, with_scores
from damagenet.card import FORMAT_VERSION, Card, ChipGround, Score, TrainingTiles
from damagenet.card import Calibration as CardCalibration
from damagenet.errors import BundleError, OutputError
from damagenet.recipe import Choice, ModelSettings, Recipe
from models.factory import build_network

MODEL = ModelSettings(architecture=Choice(name="compact_resnet", parameters={"width": 8}))
MANIFEST = pd.DataFrame({"lon": [-95.0], "lat": [29.0], "label": [1], "sha256": ["ab"]})


def made_card():
    tiles = TrainingTiles(
        count=1, split="made", manifest_sha256="", licence="x", non_commercial=False
    )
    return Card(
        format_version=FORMAT_VERSION,
        name="made",
        created="2026-01-01T00:00:00+00:00",
        model=MODEL,
        inputs=("post",),
        classes=("undamaged", "damaged"),
        pixel_mean=(90.0, 91.0, 92.0),
        pixel_std=(40.0, 41.0, 42.0),
        chip=ChipGround(size_px=SIDE_PX),
        calibration=CardCalibration(),
        threshold=0.5,
        uncertain_band=(0.4, 0.6),
        class_prior=0.5,
        training_tiles=tiles,
        scores=(),
        licence="x",
        command="made",
        recipe=Recipe(),
        versions={},
        weights_sha256="",
    )


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    card = made_card()
    network = build_network(MODEL, pixel_mean=card.pixel_mean, pixel_std=card.pixel_std)
    save_bundle(tmp_path / "made", card, network, MANIFEST)
    return tmp_path / "made"


def rewrite_card(folder, **changes):
    path = folder / "card.json"
    values = json.loads(path.read_text())
    values |= changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value != "DROP"}))


def test_a_bundle_comes_back_as_it_was_written(folder):
    bundle = load_bundle(folder)
    torch.manual_seed(0)
    network = build_network(MODEL, pixel_mean=(90, 91, 92), pixel_std=(40, 41, 42))
    for name, value in network.state_dict().items():
        assert torch.equal(bundle.network.state_dict()[name], value)
    assert bundle.card == made_card().model_copy(
        update={
            "weights_sha256": file_sha256(folder / "model.safetensors"),
            "training_tiles": bundle.card.training_tiles,
        }
    )
    assert bundle.model_id == f"made@{bundle.card.weights_sha256[:8]}"
    assert bundle.training_tiles().to_dict("list") == MANIFEST.to_dict("list")


def test_the_same_bundle_has_the_same_bytes(folder, tmp_path):
    again = load_bundle(folder)
    save_bundle(tmp_path / "again", again.card, again.network, again.training_tiles())
    for name in ("model.safetensors", "training_tiles.parquet", "card.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_an_unknown_name_lists_the_shipped_models(monkeypatch, tmp_path):
    (tmp_path / "alpha").mkdir()
    (tmp_path / "alpha" / "card.json").write_text("{}")
    monkeypatch.setattr(bundles, "weights_folder", lambda: tmp_path)
    with pytest.raises(BundleError, match=r"no model 'beta'.*nor a shipped model \(alpha\)"):
        load_bundle("beta")
    with pytest.raises(BundleError, match=r"no model 'alhpa' \(did you mean 'alpha'\?\)"):
        load_bundle("alhpa")


def test_a_shipped_name_is_found_from_anywhere(monkeypatch, folder, tmp_path):
    monkeypatch.setattr(bundles, "weights_folder", lambda: folder.parent)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert shipped_bundles() == ["made"]
    assert load_bundle("made").card.name == "made"


@pytest.mark.parametrize("name", ["model.safetensors", "card.json", "training_tiles.parquet"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}: copy it again, whole"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "training_tiles.parquet"])
def test_an_altered_file_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} was altered or damaged: its SHA-256 is"):
        load_bundle(folder)


LATER = {name for name, field in Card.model_fields.items() if not field.is_required()}


@pytest.mark.parametrize("field", sorted(Card.model_fields.keys() - LATER))
def test_a_card_with_a_field_missing_is_refused(folder, field):
    rewrite_card(folder, **{field: "DROP"})
    with pytest.raises(BundleError, match=rf"card\.json: {field} is missing"):
        load_bundle(folder)


def test_a_card_from_before_a_field_was_thought_of_is_read(folder):
    known = {"event", "confidence", "firing_rates", "quantized", "standardised", "strangeness"}
    assert known == LATER
    rewrite_card(folder, **dict.fromkeys(LATER, "DROP"))
    calibration = json.loads((folder / "card.json").read_text())["calibration"]
    del calibration["prior"]
    rewrite_card(folder, calibration=calibration)
    bundle = load_bundle(folder)
    assert (bundle.card.confidence, bundle.neighbours) == (None, None)
    assert bundle.card.prior == bundle.card.class_prior


@pytest.mark.parametrize(
    ("part", "field"), [("model", "activation"), ("chip", "height_m"), ("calibration", "bias")]
)
def test_a_card_with_a_field_missing_inside_a_part_is_refused(folder, part, field):
    values = json.loads((folder / "card.json").read_text())[part]
    values.pop(field)
    rewrite_card(folder, **{part: values})
    with pytest.raises(BundleError, match=rf"card\.json: {part}\.{field} is missing"):
        load_bundle(folder)


def test_a_card_with_an_unknown_field_is_refused(folder):
    rewrite_card(folder, colour="blue")
    with pytest.raises(BundleError, match="unknown setting 'colour'"):
        read_card(folder)


def test_an_unknown_format_version_is_refused(folder):
    rewrite_card(folder, format_version=99)
    with pytest.raises(BundleError, match="has format version 99, this damagenet reads 1"):
        load_bundle(folder)


@pytest.mark.parametrize("content", ["{", "[1, 2]"])
def test_a_card_that_is_no_json_object_is_refused(folder, content):
    (folder / "card.json").write_text(content)
    with pytest.raises(BundleError, match=r"not readable JSON|not a JSON object"):
        read_card(folder)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".pkl"])
def test_a_pickle_is_refused_unopened(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"whatever")
    with pytest.raises(BundleError, match="is a pickle, which can run code when opened"):
        load_bundle(path)


def test_a_bundle_with_a_pickle_for_weights_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "model.pt")
    with pytest.raises(BundleError, match=r"holds a pickle \(model.pt\)"):
        load_bundle(folder)


def test_a_pickle_under_the_right_name_is_not_opened(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))
    rewrite_card(folder, weights_sha256=file_sha256(folder / "model.safetensors"))
    with pytest.raises(BundleError, match="is no safetensors file"):
        load_bundle(folder)


def test_tensors_that_do_not_fit_the_architecture_are_refused(folder):
    state = load_file(folder / "model.safetensors")
    state.pop("head.bias")
    save_file(state, folder / "model.safetensors")
    rewrite_card(folder, weights_sha256=file_sha256(folder / "model.safetensors"))
    with pytest.raises(BundleError, match=r"do not fit the architecture 'compact_resnet'.*head"):
        load_bundle(folder)


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(BundleError, match="neither a folder nor a shipped model"):
        load_bundle(tmp_path / "notes.txt")


def test_a_folder_with_other_things_is_not_overwritten(tmp_path, folder):
    (tmp_path / "photos").mkdir()
    bundle = load_bundle(folder)
    with pytest.raises(OutputError, match="photos exists and holds no bundle"):
        save_bundle(tmp_path / "photos", bundle.card, bundle.network, MANIFEST)


def test_a_bundle_is_replaced_behind_its_link(tmp_path, folder):
    bundle = load_bundle(folder)
    shutil.copytree(folder, tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    card = bundle.card.model_copy(update={"name": "newer"})
    save_bundle(tmp_path / "link", card, bundle.network, MANIFEST)
    assert (tmp_path / "link").is_symlink()
    assert load_bundle(tmp_path / "real").card.name == "newer"
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_take_the_place_leaves_the_old_one(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "kept").touch()
    with pytest.raises(OSError, match="No such file"):
        replace_folder(tmp_path / "old", tmp_path / "missing")
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "kept"]


def test_scores_are_added_and_replaced_and_the_weights_stay(folder):
    first = Score(protocol="region", fold="victoria", metric="auroc", value=0.6, n=10)
    with_scores(folder, [first, first.model_copy(update={"metric": "accuracy"})])
    card = with_scores(folder, [first.model_copy(update={"value": 0.7})])
    assert [(score.metric, score.value) for score in card.scores] == [
        ("auroc", 0.7),
        ("accuracy", 0.6),
    ]
    assert load_bundle(folder).card == card


def test_reading_a_card_loads_no_torch(folder):
    code = (
        "import sys; from damagenet.bundle import read_card; "
        f"read_card({str(folder)!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_bundle_that_cannot_be_written_leaves_nothing(folder, tmp_path):
    bundle = load_bundle(folder)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write bundle"):
        save_bundle(tmp_path / "file" / "made", bundle.card, bundle.network, MANIFEST)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "made"]
    shutil.rmtree(folder)
