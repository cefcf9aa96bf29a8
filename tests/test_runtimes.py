"""Runtimes: ONNX Runtime, the compiler and bfloat16 say what torch says, or why they cannot."""

import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from assessments import make_card
from tiny_run import GROUND, make_bundle, make_scene
from torch import nn

from damagenet.assessment import DISTANCE_COLUMN
from damagenet.bundle import load_bundle
from damagenet.card import Calibration
from damagenet.engine.assess import assess_scene
from damagenet.engine.key import AssessmentKey, InputHashes
from damagenet.errors import BundleError, ConfigError
from damagenet.inference import Predictor, fused
from damagenet.options import AssessOptions
from damagenet.runtimes.answers import Answering, Answers, torch_forward
from damagenet.runtimes.compiled import compiled
from damagenet.runtimes.exported import exported_program, onnx_model
from damagenet.runtimes.onnx_runtime import onnx_forward
from damagenet.runtimes.parity import TOLERANCE, measure_parity, require_parity, trial_chips
from models.activations import build_activation
from models.classifier import Classifier
from models.normalise import Normalise, black_after
from models.texture import TextureStatistics

CARD = make_card().model_copy(update={"chip": GROUND})


def small_network(*layers, features=4):
    """Return a network of one convolution and other layers."""
    torch.manual_seed(0)
    return Classifier(
        Normalise((90, 91, 92), (40, 41, 42)),
        nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(features, 1),
        images=1,
    ).eval()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtimes") / "toy"
    # Logits of about 0.16 are spread over 0..1.
    make_bundle(folder, compares=True, calibration=Calibration(temperature=0.01, bias=-16.5))
    return load_bundle(folder)


@pytest.fixture(scope="module")
def predictors(bundle):
    return {
        runtime: Predictor(bundle, device="cpu", batch_size=4, runtime=runtime)
        for runtime in ("torch", "onnx", "bfloat16")
    }


def test_onnx_runtime_gives_the_records_of_torch(predictors, tmp_path):
    scene = make_scene(tmp_path / "scene.tif", hole=(slice(0, 40), slice(0, 100)))
    tables = {}
    for runtime in ("torch", "onnx"):
        found = assess_scene(
            scene,
            tmp_path / runtime,
            AssessOptions(runtime=runtime),
            predictors[runtime],
            stem="scene",
        )
        (tables[runtime],) = found.parts()
    one, other = tables["torch"], tables["onnx"]
    assert one["p_damaged"].std() > 0.01
    assert other["p_damaged"].to_numpy() == pytest.approx(
        one["p_damaged"].to_numpy(), abs=TOLERANCE, nan_ok=True
    )
    distance = one[DISTANCE_COLUMN].to_numpy()
    assert np.nanmin(distance) > 0
    assert other[DISTANCE_COLUMN].to_numpy() == pytest.approx(distance, abs=1e-5, nan_ok=True)
    assert (other["label"] == one["label"]).all()


def test_embeddings_and_their_logits_agree_too(predictors):
    chips = trial_chips(predictors["torch"].bundle.card)
    embeddings = predictors["onnx"].embeddings(chips)
    assert embeddings == pytest.approx(predictors["torch"].embeddings(chips), abs=1e-5)
    assert predictors["onnx"].head_logits(embeddings) == pytest.approx(
        predictors["onnx"].logits(chips), abs=1e-5
    )


def test_bfloat16_is_near_but_makes_records_of_its_own(predictors, bundle):
    chips = trial_chips(bundle.card)
    logits = [predictors[runtime].logits(chips) for runtime in ("torch", "bfloat16")]
    assert 0 < np.abs(logits[0] - logits[1]).max() < 0.05

    def key(runtime):
        options = AssessOptions(runtime=runtime)
        return AssessmentKey.of("scene", bundle.card, options, InputHashes())

    assert key("torch") == key("onnx") == key("compile")
    assert "runtime" not in key("torch").options
    assert key("torch").differences(key("bfloat16")) == ["--runtime"]


def test_research_activations_are_exported():
    network = small_network(*map(build_activation, ("pvlu", "nish", "or_ail")), features=2)
    program = exported_program(Answering(network), CARD)
    plain = torch_forward(Answering(network))
    found = require_parity(CARD, plain, torch_forward(program.module()), what="the program")
    assert found.probability <= TOLERANCE
    onnx = onnx_forward(onnx_model(program, CARD).SerializeToString(), CARD.inputs)
    assert measure_parity(CARD, plain, onnx).probability <= TOLERANCE


def test_two_pictures_of_any_number_of_chips_are_exported_with_their_names():
    torch.manual_seed(0)
    trunk = nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 4, 3, 2, 1), stage2=nn.Conv2d(4, 5, 1)))
    texture = TextureStatistics(trunk, 0.0, black_after((127,) * 3, (128,) * 3))
    normalise = Normalise((127,) * 3, (128,) * 3)
    network = Classifier(normalise, texture, nn.Linear(5, 1), images=2).eval()
    card = CARD.model_copy(update={"inputs": ("post", "pre")})
    answering = Answering(fused(network))
    model = onnx_model(exported_program(answering, card), card)
    assert [value.name for value in model.graph.input] == ["post", "pre"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "chips"
    forward = onnx_forward(model.SerializeToString(), card.inputs)
    assert require_parity(card, torch_forward(answering), forward, what="it").logit < 1e-4


def test_a_network_that_decides_in_python_is_refused_in_one_sentence():
    class Deciding(nn.Module):
        def forward(self, maps):
            return maps if maps.sum().item() > 0 else -maps

    with pytest.raises(
        BundleError, match=r"^model toy \(.*\) cannot be exported by torch.export: "
    ):
        exported_program(Answering(small_network(Deciding())), CARD)


def test_a_runtime_that_says_something_else_is_refused():
    plain = torch_forward(Answering(small_network()))

    def other(images):
        logits, features = plain(images)
        return Answers(logits + 0.01, features)

    with pytest.raises(BundleError, match=r"the other of model toy and torch differ by 0\.00"):
        require_parity(CARD, plain, other, what="the other")
    with pytest.raises(BundleError, match="differ by inf"):
        require_parity(
            CARD, plain, lambda images: Answers(*(plain(images)[0] * torch.nan,) * 2), what="it"
        )


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_with_what_installs_it(bundle, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"pip install 'damagenet\[onnx\]'"):
        Predictor(bundle, device="cpu", runtime="onnx")


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(BundleError, match="ONNX Runtime cannot read the model"):
        onnx_forward(path, ("post",))


def test_a_compiled_network_says_what_torch_says():
    answering = Answering(small_network(nn.ReLU()))
    example = tuple(torch.from_numpy(image) for image in trial_chips(CARD))
    forward = torch_forward(compiled(answering, example))
    assert measure_parity(CARD, torch_forward(answering), forward).probability <= TOLERANCE


def test_without_a_compiler_compile_is_refused_in_one_sentence(monkeypatch):
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(inductor, "fx_graph_cache", False)
    example = tuple(torch.from_numpy(image) for image in trial_chips(CARD))
    with pytest.raises(ConfigError, match="--runtime compile cannot be used here"):
        compiled(Answering(small_network(nn.Sigmoid())), example)
