"""The predictor: the same answer as the network, whatever the batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bundle import MODEL, made_card
from torch import nn

from damagenet.bundle import Bundle
from damagenet.calibration import probabilities
from damagenet.card import Calibration
from damagenet.devices import resolve_device
from damagenet.errors import ConfigError, DeviceError
from damagenet.inference import Predictor, fused
from damagenet.recipe import Choice, ModelSettings
from models.factory import build_network


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    network = build_network(MODEL, pixel_mean=(90, 91, 92), pixel_std=(40, 41, 42))
    with torch.no_grad():
        network(torch.from_numpy(chips(32)))  # gives the batch norms statistics to fold
    card = made_card().model_copy(update={"calibration": Calibration(temperature=0.5, bias=0.2)})
    return Bundle(card=card, network=network.eval(), folder=tmp_path_factory.mktemp("bundle"))


def chips(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def test_probabilities_are_the_calibrated_logits_of_the_network(bundle):
    predictor = Predictor(bundle, device="cpu", batch_size=4)
    with torch.inference_mode():
        logits = bundle.network(torch.from_numpy(chips(10))).squeeze(1).numpy()
    assert predictor.logits((chips(10),)) == pytest.approx(logits, abs=1e-5)
    p = predictor.probabilities((chips(10),))
    assert p.dtype == np.float64
    assert p == pytest.approx(probabilities(logits, bundle.card.calibration), abs=1e-5)


def test_embeddings_are_what_the_head_sees_and_give_the_same_logits(bundle):
    predictor = Predictor(bundle, device="cpu", batch_size=4)
    embeddings = predictor.embeddings((chips(10),))
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (10, predictor.features)
    stacked = bundle.network.normalise(torch.from_numpy(chips(10)))
    with torch.inference_mode():
        seen = bundle.network.features(stacked).numpy()
    assert embeddings == pytest.approx(seen, abs=1e-4)
    assert embeddings.std(axis=0).max() > 0
    logits = predictor.head_logits(embeddings)
    assert logits == pytest.approx(predictor.logits((chips(10),)), abs=1e-5)
    assert predictor.embeddings((chips(0),)).shape == (0, predictor.features)


def test_embeddings_of_wrong_chips_are_refused(bundle):
    with pytest.raises(ConfigError, match="chips must be uint8"):
        Predictor(bundle, device="cpu").embeddings((chips(2).astype(np.float32),))


def test_the_bundles_own_network_is_left_alone(bundle):
    before = {name: value.clone() for name, value in bundle.network.state_dict().items()}
    Predictor(bundle, device="cpu").probabilities((chips(3),))
    after = bundle.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_the_norms_of_a_resnet_are_folded_too():
    torch.manual_seed(0)
    model = ModelSettings(architecture=Choice(name="resnet18", parameters={"size_px": 32}))
    network = build_network(model, pixel_mean=(90, 91, 92), pixel_std=(40, 41, 42), size_px=32)
    images = torch.from_numpy(chips(8))
    with torch.no_grad():
        network(images)
        folded, network = fused(network), network.eval()
        assert folded(images).numpy() == pytest.approx(network(images).numpy(), abs=1e-5)
    assert not [layer for layer in folded.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_the_same_call_gives_the_same_bits(bundle):
    one, two = (Predictor(bundle, device="cpu", batch_size=8) for _ in range(2))
    assert np.array_equal(one.probabilities((chips(21),)), two.probabilities((chips(21),)))


@given(count=st.integers(0, 20), batch_size=st.integers(1, 25))
@settings(max_examples=20, deadline=None)
def test_the_batch_size_does_not_matter(bundle, count, batch_size):
    whole = Predictor(bundle, device="cpu", batch_size=64).probabilities((chips(20),))
    p = Predictor(bundle, device="cpu", batch_size=batch_size).probabilities((chips(20)[:count],))
    assert p.shape == (count,)
    assert p == pytest.approx(whole[:count], abs=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((chips(2), chips(2)), r"takes 1 image\(s\) a chip \(post\), got 2"),
        ((chips(2).astype(np.float32),), "chips must be uint8"),
        ((chips(2)[:, :, :20],), r"must be uint8 \(N, 3, 32, 32\), got uint8 \(2, 3, 20, 32\)"),
    ],
)
def test_wrong_chips_are_refused(bundle, images, message):
    with pytest.raises(ConfigError, match=message):
        Predictor(bundle, device="cpu").probabilities(images)


def test_a_batch_size_below_one_is_refused(bundle):
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        Predictor(bundle, batch_size=0)


def test_a_gpu_that_is_not_there_is_refused(bundle):
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(DeviceError, match=f"device {missing} was asked for, this machine has"):
        Predictor(bundle, device=missing)


def test_an_unknown_device_is_refused():
    with pytest.raises(DeviceError, match="unknown device 'tpu9': choose auto, cpu, cuda"):
        resolve_device("tpu9")


def test_auto_takes_what_there_is():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
