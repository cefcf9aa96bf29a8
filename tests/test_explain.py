"""The methods that explain: their rules on small networks, and what they refuse."""

import copy
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Deconvolution, GuidedBackprop, LayerGradCam, Saliency
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tiny_run import SIZE_PX, make_bundle
from torch import nn

from damagenet.bundle import load_bundle
from damagenet.card import Calibration
from damagenet.errors import ConfigError
from damagenet.explain.explainer import Explainer
from damagenet.explain.last_map import map_layer
from damagenet.explain.log_odds import LogOdds, log_odds_of
from damagenet.explain.methods import METHODS, Asked
from damagenet.explain.names import METHOD_NAMES
from damagenet.explain.rectifiers import Gate, Rectifier, put_gates, require_rectifiers
from damagenet.inference import Predictor
from damagenet.recipe import Choice, ModelSettings
from models.classifier import Classifier
from models.factory import build_network
from models.normalise import Normalise

# captum says that it hooks and switches gradients on; `_quiet` keeps that from users.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")

ONE = Calibration(temperature=1.0)
CPU = torch.device("cpu")


def classifier(features: nn.Module, count: int, *, images: int = 1) -> Classifier:
    normalise = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Classifier(normalise, features, nn.Linear(count, 1), images=images).eval()


def convolutional(**layers: nn.Module) -> Classifier:
    """Two convolutions, averaged; `layers` stand after them."""
    torch.manual_seed(0)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        first=nn.Conv2d(3, 6, 3, padding=1),
        relu=nn.ReLU(inplace=True),
        second=nn.Conv2d(6, 5, 3, stride=2, padding=1),
        **layers,
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
    )
    return classifier(nn.Sequential(parts), 5)


def log_odds(network: Classifier) -> LogOdds:
    put_gates(network)
    return LogOdds(network, ONE, "damaged").eval()


def chips(count: int = 2, size: int = 16, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (count, 3, size, size), generator=generator).float()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder)
    return load_bundle(str(folder))


def images_of(bundle, count: int = 3, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    side = bundle.card.chip.size_px
    return tuple(
        rng.integers(1, 256, (count, 3, side, side), dtype=np.uint8) for _ in bundle.card.inputs
    )


class TwoLayers(nn.Module):
    """a = relu(x), y = v . relu(W a): small enough to work out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.ReLU(), nn.ReLU()
        self.weight = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -4.0]])
        self.out = torch.tensor([2.0, 3.0, -1.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.above(self.below(x) @ self.weight.T) * self.out).sum(dim=1)


def test_the_three_gate_rules_differ_as_worked_out_by_hand():
    # x = (1, 2, -1 is cut): a = (1, 2); W a = (3, 1, -7), so above = (3, 1, 0).
    # From above come (2, 3, -1).
    # plain: the third is cut by [above > 0]: (2, 3, 0) W = (2 - 3, 2 + 3) = (-1, 5).
    # deconvnet: the third is cut by its sign: the same (2, 3, 0), then [R > 0]: (0, 5).
    # guided: both: (2, 3, 0) W = (-1, 5), then [a > 0] and [R > 0]: (0, 5).
    network, x = TwoLayers(), torch.tensor([[1.0, 2.0]])
    assert rules(network, x) == {"plain": [-1, 5], "deconv": [0, 5], "guided": [0, 5]}
    # x = (-1, 2): a = (0, 2); W a = (2, 2, -8): the first is cut by what went forward, where
    # deconvnet does not look. Above (2, 3, 0) W = (-1, 5) again.
    x = torch.tensor([[2.0, -1.0]])
    # a = (2, 0); W a = (2, -2, 2): plain (2, 0, -1) W = (1, 6), cut below to (1, 0);
    # deconvnet (2, 3, 0) W = (-1, 5), by sign (0, 5); guided (2, 0, 0) W = (2, 2), cut to (2, 0).
    assert rules(network, x) == {"plain": [1, 0], "deconv": [0, 5], "guided": [2, 0]}


def rules(network: nn.Module, x: torch.Tensor) -> dict[str, list[float]]:
    put_gates(network)
    found = {
        "plain": Saliency(network).attribute(x.clone(), abs=False),
        "deconv": Deconvolution(network).attribute(x.clone()),
        "guided": GuidedBackprop(network).attribute(x.clone()),
    }
    return {name: values[0].tolist() for name, values in found.items()}


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_on_a_path_without_a_negative_number_guided_is_the_plain_gradient(seed):
    torch.manual_seed(seed)
    network = convolutional(above=nn.ReLU6())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().mul_(0.01)
    explained, images = log_odds(network), chips(seed=seed)
    found = METHODS["guided_backprop"].prepare(explained, (images[:1],), Asked())
    plain = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(explained(plain).sum(), plain)
    torch.testing.assert_close(found.explain((images,)).maps[0], gradient.abs().amax(dim=1))
    assert gradient.min() >= 0


def test_a_shortcut_around_a_rectifier_is_not_gated():
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inner = 1.0 * x
            return (self.relu(inner) - 3 * inner).sum(dim=1)

    network = Shortcut()
    put_gates(network)
    found = GuidedBackprop(network).attribute(torch.tensor([[2.0, -2.0]]))
    # Through the rectifier 1 and 0, around it -3: were the sum gated, all would be zero.
    assert found.tolist() == [[-2.0, -3.0]]


def test_gates_compute_what_the_rectifiers_did_to_the_bit():
    network = convolutional(above=nn.ReLU6(inplace=True))
    before = network(chips())
    put_gates(network)
    assert torch.equal(network(chips()), before)
    assert sum(isinstance(layer, Gate) for layer in network.modules()) == 2


@pytest.mark.parametrize("inputs", [("post",), ("post", "pre")])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_network_and_its_verdicts_are_as_before(tmp_path, inputs, method):
    make_bundle(tmp_path / "toy", inputs=inputs)
    bundle = load_bundle(str(tmp_path / "toy"))
    images = images_of(bundle)
    state = {name: value.clone() for name, value in bundle.network.state_dict().items()}
    before = Predictor(bundle, device="cpu").logits(images)
    explainer = Explainer(bundle, [method], device="cpu", asked=Asked(steps=4))
    found = explainer.explain(method, images)
    assert [one.shape for one in found.maps] == [(3, SIZE_PX, SIZE_PX)] * len(inputs)
    assert all(np.isfinite(one).all() and one.any() for one in found.maps)
    again = explainer.explain(method, images)
    assert all(np.array_equal(a, b) for a, b in zip(found.maps, again.maps, strict=True))
    assert np.array_equal(Predictor(bundle, device="cpu").logits(images), before)
    assert all(torch.equal(value, state[n]) for n, value in bundle.network.state_dict().items())
    assert not hooks(bundle.network)
    assert not hooks(explainer._log_odds)


def hooks(network: nn.Module) -> int:
    return sum(
        len(layer._forward_hooks) + len(layer._forward_pre_hooks) + len(layer._backward_hooks)
        for layer in network.modules()
    )


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_hooks_go_away_after_an_error_too(monkeypatch, method):
    explained = log_odds(convolutional())
    ready = METHODS[method].prepare(explained, (chips(1),), Asked(steps=2))

    def fail(*_: object) -> None:
        raise ArithmeticError

    monkeypatch.setattr(explained, "forward", fail)
    with pytest.raises(ArithmeticError):
        ready.explain((chips(),))
    assert not hooks(explained)


def test_log_odds_are_those_of_the_probabilities(bundle):
    images = images_of(bundle)
    explained = log_odds_of(bundle, "damaged", CPU)
    tensors = [torch.from_numpy(image).float() for image in images]
    p = torch.sigmoid(explained(*tensors).double()).numpy()
    np.testing.assert_allclose(p, Predictor(bundle, device="cpu").probabilities(images), atol=1e-4)


def test_the_other_class_has_the_map_with_the_other_sign(bundle):
    images = images_of(bundle)
    for method in ("grad_cam", "integrated_gradients"):
        damaged, undamaged = (
            Explainer(bundle, [method], target=target, device="cpu").explain(method, images)
            for target in ("damaged", "undamaged")
        )
        np.testing.assert_allclose(damaged.maps[0], -undamaged.maps[0], atol=1e-6)


def test_grad_cam_of_an_averaging_network_adds_up_to_its_log_odds():
    network = convolutional()
    explained = log_odds(network)
    ready = METHODS["grad_cam"].prepare(explained, (chips(1),), Asked())
    assert ready.note == "drawn from layer features.second, 8 x 8 places a chip"
    total = ready.explain((chips(),)).maps[0].sum(dim=(1, 2))
    with torch.no_grad():
        torch.testing.assert_close(total, explained(chips()) - network.head.bias)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1000))
def test_integrated_gradients_add_up_to_the_change_but_for_delta(seed):
    explained = log_odds(convolutional(above=nn.GELU()))
    ready = METHODS["integrated_gradients"].prepare(explained, (chips(1),), Asked(steps=32))
    images = chips(seed=seed)
    images[0, :, :4] = 0  # ground that is not shown
    found = ready.explain((images,))
    with torch.no_grad():
        change = explained(images) - explained(torch.zeros_like(images))
    total = found.maps[0].sum(dim=(1, 2))
    torch.testing.assert_close(total - found.delta, change, rtol=1e-3, atol=1e-3)
    assert (found.delta.abs() < 0.05 * change.abs() + 0.05).all()
    assert not found.maps[0][0, :4].any()


def test_a_network_that_reads_deviations_gets_shares_of_them():
    model = ModelSettings(
        architecture=Choice(name="lite0_texture", parameters={"depth": 1}),
        activation=Choice(name="default"),
    )
    torch.manual_seed(0)
    network = build_network(
        model, pixel_mean=(127.0,) * 3, pixel_std=(128.0,) * 3, inputs=("post", "pre"), size_px=32
    ).eval()
    explained = log_odds(network)
    ready = METHODS["grad_cam"].prepare(explained, (chips(1, 32), chips(1, 32)), Asked())
    assert "features.trunk.stage2" in ready.note
    assert "how much its maps vary" in ready.note
    post, pre = ready.explain((chips(2, 32), chips(2, 32, seed=1))).maps
    # Grad-CAM's own weights vanish: the mean gradient of a deviation is zero.
    layer = network.features.trunk.stage2
    own = LayerGradCam(explained, layer).attribute((chips(2, 32), chips(2, 32, seed=1)))
    assert own.abs().amax() < 1e-4 * post.abs().amax() * 32 * 32
    # What is roughness in one picture is the other's with the other sign.
    other = ready.explain((chips(2, 32, seed=1), chips(2, 32))).maps
    torch.testing.assert_close(post, -other[1])
    torch.testing.assert_close(pre, -other[0])
    # The shares of a picture add up to the weighted deviations, w s / (s + floor).
    maps = network.features.trunk(network.normalise(chips(2, 32)))
    deviation = maps.std(dim=(2, 3))
    wanted = (deviation / (deviation + 0.02)) @ network.head.weight[0]
    torch.testing.assert_close(post.sum(dim=(1, 2)), wanted, rtol=1e-3, atol=1e-3)


def test_the_last_map_is_found_and_others_can_be_named(bundle):
    explained = log_odds_of(bundle, "damaged", CPU)
    example = (chips(1, SIZE_PX),)
    assert map_layer(explained, example).name == "features.stage3"
    assert map_layer(explained, example, "features.stage1").shape == (1, 32, 8, 8)
    with pytest.raises(ConfigError, match=r"no 'features.stage9' .did you mean 'features.stage"):
        map_layer(explained, example, "features.stage9")
    with pytest.raises(ConfigError, match=r"'features.pool' gives no map"):
        map_layer(explained, example, "features.pool")


def test_a_layer_that_runs_twice_gives_no_map():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.again(self.again(self.first(x))).mean(dim=(2, 3))

    explained = log_odds(classifier(Twice(), 3))
    assert map_layer(explained, (chips(1),)).name == "features.first"
    with pytest.raises(ConfigError, match=r"'features.again' runs 2 times for one chip"):
        map_layer(explained, (chips(1),), "features.again")


@pytest.mark.parametrize(
    ("above", "told"),
    [
        (nn.SiLU(), r"this network has silu at 1 place: take grad_cam"),
        (nn.Tanh(), None),
    ],
)
def test_guided_backprop_wants_rectifiers_and_nothing_else(above, told):
    network = convolutional(above=above)
    put_gates(network)
    if told is None:
        require_rectifiers(network, [chips(1)])
        return
    with pytest.raises(ConfigError, match=told):
        require_rectifiers(network, [chips(1)])


class Functional(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(x)


def test_a_rectifier_that_is_no_layer_cannot_be_hooked():
    network = convolutional(above=Functional())
    put_gates(network)
    with pytest.raises(ConfigError, match="cannot hook relu at 1 place"):
        require_rectifiers(network, [chips(1)])


def test_a_network_without_a_rectifier_is_refused():
    network = classifier(nn.Sequential(nn.Conv2d(3, 2, 16), nn.Flatten()), 2)
    with pytest.raises(ConfigError, match="needs ReLU layers and this network has none"):
        require_rectifiers(network, [chips(1)])


@pytest.mark.parametrize("name", ["leaky_relu", "swish", "pvlu"])
def test_networks_with_other_activations_are_refused_by_name(bundle, name):
    model = ModelSettings(architecture=Choice(name="compact_resnet"), activation=Choice(name=name))
    network = build_network(model, pixel_mean=(127.0,) * 3, pixel_std=(64.0,) * 3, size_px=SIZE_PX)
    other = replace(bundle, network=network.eval())
    with pytest.raises(ConfigError, match=r"is made for ReLU, and this network has \w+ at 9"):
        Explainer(other, ["guided_backprop"], device="cpu")
    Explainer(other, ["grad_cam", "integrated_gradients"], device="cpu")


@pytest.mark.parametrize(
    ("family", "methods", "told"),
    [
        ("spiking", ["grad_cam"], "spiking network: its spikes have no gradient"),
        (
            "capsules",
            ["guided_backprop"],
            "does not go with 'compact_resnet' of model .* take grad_cam",
        ),
    ],
)
def test_families_without_rectifiers_are_refused(bundle, monkeypatch, family, methods, told):
    from models.architectures import ARCHITECTURES

    row = replace(ARCHITECTURES["compact_resnet"], family=family)
    monkeypatch.setitem(ARCHITECTURES, "compact_resnet", row)
    with pytest.raises(ConfigError, match=told):
        Explainer(bundle, methods, device="cpu")


@pytest.mark.parametrize(
    ("name", "layer", "guided"),
    [
        ("resnet18", "features.backbone.layer4", True),
        ("efficientnet_lite0", "features.backbone.last", True),
        ("mobilenet_v3_small", "features.backbone.features", False),
    ],
)
def test_backbones_have_a_last_map_and_their_rectifiers_are_known(name, layer, guided):
    model = ModelSettings(
        architecture=Choice(name=name, parameters={"size_px": 64}),
        activation=Choice(name="default"),
    )
    network = build_network(model, pixel_mean=(127.0,) * 3, pixel_std=(64.0,) * 3, size_px=64)
    explained, example = log_odds(network.eval()), (chips(1, 64),)
    assert map_layer(explained, example).name.startswith(layer)
    if guided:
        require_rectifiers(network, example)
        assert any(isinstance(layer, Rectifier) for layer in network.modules())
    else:
        with pytest.raises(ConfigError, match="guided_backprop"):
            require_rectifiers(network, example)


def test_a_transformer_has_no_map_late_in_it():
    model = ModelSettings(
        architecture=Choice(name="timm:vit_tiny_patch16_224", parameters={"size_px": 32}),
        activation=Choice(name="default"),
    )
    network = build_network(model, pixel_mean=(127.0,) * 3, pixel_std=(64.0,) * 3, size_px=32)
    with pytest.raises(ConfigError, match="needs a map that is left late in the network"):
        map_layer(log_odds(network.eval()), (chips(1, 32),))


def test_without_what_was_learned_little_of_a_map_is_left_but_edges():
    # Adebayo et al. 2018; benchmarks/explanations.py has it for real tiles and every depth.
    bundle = load_bundle("harvey")
    network = copy.deepcopy(bundle.network)
    torch.manual_seed(1)
    for layer in (*network.features.stage3.modules(), network.head):
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    blocks = np.random.default_rng(0).integers(60, 160, (4, 3, 16, 16), dtype=np.uint8)
    images = blocks.repeat(8, axis=2).repeat(8, axis=3)
    learned, drawn = (
        Explainer(one, METHOD_NAMES, device="cpu", asked=Asked(steps=8))
        for one in (bundle, replace(bundle, network=network))
    )
    alike = {}
    for name in METHOD_NAMES:
        pairs = zip(
            learned.explain(name, (images,)).maps[0],
            drawn.explain(name, (images,)).maps[0],
            strict=True,
        )
        alike[name] = np.mean([spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs])
    assert alike["guided_backprop"] > 0.5
    assert abs(alike["grad_cam"]) < 0.4
    assert abs(alike["integrated_gradients"]) < 0.4
