"""`damagenet export`: files that run without damagenet, and eight bits that say what they cost."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_run import make_bundle
from tiny_tiles import make_tiles
from typer.testing import CliRunner

from damagenet.bundle import load_bundle, read_card
from damagenet.calibration import probabilities
from damagenet.card import ChipGround
from damagenet.cli.main import app
from damagenet.engine.key import AssessmentKey, InputHashes
from damagenet.errors import BundleError, ConfigError, OutputError
from damagenet.export.export import export_model, require_small_loss
from damagenet.export.quantise import Loss
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from damagenet.rules import Rules
from damagenet.runtimes import choosing
from damagenet.runtimes.export_record import ExportRecord
from damagenet.runtimes.parity import trial_chips


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of an ONNX export, and that of its bundle beside it."""
    folder = tmp_path_factory.mktemp("export")
    make_bundle(folder / "toy", compares=True)
    export_model(folder / "toy", folder / "onnx", kind="onnx")
    return folder / "onnx"


def test_an_onnx_file_alone_is_enough_to_judge_chips(exported):
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    record = json.loads(session.get_modelmeta().custom_metadata_map["damagenet"])
    bundle = load_bundle(exported.parent / "toy")
    chips = trial_chips(bundle.card)
    logits, _ = session.run(None, dict(zip(record["inputs"], chips, strict=True)))
    calibration = record["calibration"]
    p = 1 / (1 + np.exp(-(logits / calibration["temperature"] + calibration["bias"])))
    expected = Predictor(bundle, device="cpu").probabilities(chips)
    assert p == pytest.approx(expected, abs=1e-5)
    assert record["model"] == bundle.model_id
    assert record["threshold"] == bundle.card.threshold
    assert record["chip"] == bundle.card.chip.model_dump()


def test_the_record_beside_the_file_says_the_same_and_its_hash(exported):
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    inside = ExportRecord.model_validate_json(
        session.get_modelmeta().custom_metadata_map["damagenet"]
    )
    beside = ExportRecord.model_validate_json((exported / "export.json").read_text())
    assert len(beside.sha256) == 64
    assert beside.model_copy(update={"sha256": ""}) == inside


def test_an_exported_folder_is_a_bundle_that_starts_without_exporting_again(exported, monkeypatch):
    def never(*_):
        raise AssertionError("exported again")

    monkeypatch.setattr(choosing, "exported_program", never)
    bundle = load_bundle(exported)
    chips = trial_chips(bundle.card)
    own = Predictor(bundle, device="cpu", runtime="onnx").probabilities(chips)
    assert own == pytest.approx(Predictor(bundle, device="cpu").probabilities(chips), abs=1e-5)


@pytest.mark.parametrize("spoilt", ["model.onnx", "export.json"])
def test_an_altered_export_is_refused(exported, spoilt):
    path = exported / spoilt
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    try:
        with pytest.raises(BundleError, match="export the model again"):
            Predictor(load_bundle(exported), device="cpu", runtime="onnx")
    finally:
        path.write_bytes(content)


def test_a_program_of_torch_is_read_back_by_torch_alone(tmp_path):
    make_bundle(tmp_path / "pair", inputs=("post", "pre"))
    record = export_model(tmp_path / "pair", tmp_path / "out", kind="torch-export")
    inside = {"damagenet.json": ""}
    program = torch.export.load(tmp_path / "out" / record.file, extra_files=inside).module()
    bundle = load_bundle(tmp_path / "pair")
    for count in (1, 5):
        chips = tuple(image[:count] for image in trial_chips(bundle.card))
        with torch.inference_mode():
            logits, features = program(*map(torch.from_numpy, chips))
        assert features.shape == (count, 128)
        expected = Predictor(bundle, device="cpu").probabilities(chips)
        assert probabilities(logits.numpy(), bundle.card.calibration) == pytest.approx(
            expected, abs=1e-5
        )
    assert json.loads(inside["damagenet.json"])["inputs"] == ["post", "pre"]


@pytest.fixture(scope="module")
def tiled(tmp_path_factory):
    """A bundle for tiles of 128 px, and made tiles."""
    folder = tmp_path_factory.mktemp("int8")
    make_bundle(folder / "toy", chip=ChipGround(), compares=True)
    return folder / "toy", make_tiles(folder / "tiles")


@pytest.fixture(scope="module")
def int8(tiled):
    bundle, tiles = tiled
    out = bundle.parent / "int8"
    return out, export_model(bundle, out, kind="onnx", tiles=tiles, lossy=True)


def test_eight_bits_are_a_model_of_their_own_that_says_what_it_lost(int8, tiled):
    out, record = int8
    card, before = read_card(out), read_card(tiled[0])
    lost = card.quantized
    assert lost is not None
    assert record.quantized == lost
    assert record.model.startswith("toy-int8@")
    assert 0 < lost.mean_difference < 0.2
    assert lost.measured_on.endswith("validation tiles of split deduplicated")
    assert card.sentence.startswith(before.sentence)
    assert card.sentence.endswith(
        f"which cost {lost.accuracy_loss:.2f} points of balanced accuracy."
    )
    options = AssessOptions(runtime="onnx")
    keys = [AssessmentKey.of("scene", each, options, InputHashes()) for each in (card, before)]
    assert keys[0].differences(keys[1]) == ["model"]


def test_eight_bits_run_in_onnx_runtime_alone(int8, tiled):
    out, _ = int8
    with pytest.raises(BundleError, match=r"toy-int8 is quantised to int8, .* --runtime onnx"):
        load_bundle(out)
    bundle = load_bundle(out, runtime="onnx")
    chips = trial_chips(bundle.card)
    own = Predictor(bundle, device="cpu", runtime="onnx").logits(chips)
    plain = Predictor(load_bundle(tiled[0]), device="cpu").logits(chips)
    assert np.abs(own - plain).max() > 0
    assert np.corrcoef(own, plain)[0, 1] > 0.95
    (out / "model.onnx").rename(out / "away.onnx")
    try:
        with pytest.raises(BundleError, match=r"lacks model\.onnx: copy it again"):
            Predictor(bundle, device="cpu", runtime="onnx")
    finally:
        (out / "away.onnx").rename(out / "model.onnx")


def test_what_was_measured_on_single_logits_does_not_hold_in_eight_bits(int8):
    card = read_card(int8[0])
    assert card.strangeness is None
    assert not (int8[0] / "neighbours.safetensors").exists()
    with pytest.raises(ConfigError, match="does not keep"):
        Rules.of(card, AssessOptions(max_error=0.1))


def test_eight_bits_that_lose_too_much_are_refused(tiled):
    card = read_card(tiled[0])
    lost = {"mean_difference": 0.1, "largest_difference": 0.2, "measured_on": "9 tiles"}
    require_small_loss(card, Loss(accuracy=0.29, auroc=-1.0, **lost))
    for accuracy, auroc in ((0.31, 0.0), (0.0, 0.31)):
        with pytest.raises(
            BundleError, match=r"^toy loses .* of AUROC in int8 \(9 tiles\).*--lossy"
        ):
            require_small_loss(card, Loss(accuracy=accuracy, auroc=auroc, **lost))


def test_eight_bits_need_onnx_and_one_picture(tiled, tmp_path):
    bundle, tiles = tiled
    with pytest.raises(ConfigError, match="--quantize needs --format onnx"):
        export_model(bundle, tmp_path / "out", kind="torch-export", tiles=tiles)
    make_bundle(tmp_path / "pair", inputs=("post", "pre"), chip=ChipGround())
    with pytest.raises(ConfigError, match="toy compares two pictures"):
        export_model(tmp_path / "pair", tmp_path / "out", kind="onnx", tiles=tiles)
    assert [path.name for path in tmp_path.iterdir()] == ["pair"]


def test_a_folder_of_something_else_is_left_alone(exported, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists and holds no export"):
        export_model(exported, tmp_path, kind="torch-export")
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--quantize", "int8"], "--quantize int8 and --tiles DIR belong together"),
        (["--format", "tflite"], "'tflite' is not one of 'onnx', 'torch-export'"),
    ],
)
def test_wrong_usage_is_said(arguments, said, tmp_path):
    line = ["export", "harvey", "--out", str(tmp_path / "out"), *arguments]
    result = CliRunner().invoke(app, line, env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 2
    assert said in result.output
