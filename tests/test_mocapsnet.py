"""MoCapsNet as an architecture: its size, its head, its loss, its training."""

import logging
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from made_tiles import make_recipe, make_tiles
from torch import nn

from damagenet.errors import ConfigError
from damagenet.inference import fused
from damagenet.recipe import Choice, ModelSettings, Recipe, read_recipe
from damagenet.training.checks import check_recipe
from damagenet.training.lightning_module import DamageModule
from damagenet.training.losses import (
    MarginLoss,
    Outcome,
    build_loss,
    margin_loss,
    seen_picture,
)
from damagenet.training.train import train
from models.activations import activation_maker
from models.capsules.decoder import Decoder
from models.capsules.mocapsnet import lengths_and_capsules, mocapsnet
from models.capsules.routing import CapsuleLayer
from models.classifier import Classifier
from models.factory import build_network

SMALL = {"name": "mocapsnet", "size_px": 20, "width": 8, "num_caps": 4, "blocks": 1, "spread": 0.3}


def network(activation: object = "relu", init: str = "default", **parameters: object) -> Classifier:
    model = {
        "architecture": {**SMALL, **parameters},
        "activation": activation,
        "init": init,
    }
    torch.manual_seed(0)
    return build_network(
        ModelSettings.model_validate(model), pixel_mean=(100, 110, 90), pixel_std=(40, 50, 60)
    )


def images(n: int = 2, size_px: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size_px, size_px), generator=generator, dtype=torch.uint8)


def count(*modules: nn.Module) -> int:
    return sum(one.numel() for module in modules for one in module.parameters())


def recipe(model: object = None, **training: object) -> Recipe:
    made = make_recipe(**{"loss": "margin", "optimizer": {"name": "adam", "lr": 0.01}, **training})
    architecture = Choice.model_validate(model or SMALL)
    return made.model_copy(update={"model": ModelSettings(architecture=architecture)})


@pytest.mark.parametrize(
    ("picture", "classes", "blocks", "together", "decoder"),
    [
        ((1, 28), 10, 1, 9_272_336, 1_411_344),
        ((1, 28), 10, 2, 9_403_408, 1_411_344),
        ((3, 32), 10, 1, 13_494_016, 3_756_544),
        ((3, 32), 10, 2, 13_625_088, 3_756_544),
        ((3, 32), 2, 2, 13_526_784, 3_691_008),
    ],
)
def test_the_published_networks_have_their_number_of_parameters(
    picture, classes, blocks, together, decoder
):
    with torch.device("meta"):
        features, _ = mocapsnet(
            channels_in=picture[0],
            size_px=picture[1],
            make=activation_maker(Choice(name="relu")),
            classes=classes,
            stem="none",
            blocks=blocks,
        )
        made = Decoder(capsules=features.capsules, picture=features.picture)
    assert count(features, made) == together
    assert count(made) == decoder


def test_the_parts_make_the_original_capsule_network_too():
    with torch.device("meta"):
        own = [nn.Conv2d(1, 256, 9), nn.Conv2d(256, 256, 9), CapsuleLayer((1152, 8), (10, 16))]
        decoder = Decoder(capsules=(10, 16), picture=(1, 28, 28))
    assert count(*own) == 6_804_224
    assert count(*own, decoder) == 8_215_568


@pytest.mark.parametrize(("size_px", "side"), [(20, 20), (32, 32), (64, 32), (100, 25), (128, 32)])
def test_the_stem_brings_pictures_to_32_px_or_below(size_px, side):
    features = network(size_px=size_px).features
    assert features.picture == (3, side, side)
    with torch.inference_mode():
        assert features(torch.zeros(1, 3, 50, 50)).shape == (1, 34)


def test_the_logit_grows_with_the_difference_of_the_lengths():
    net = network(init="he").eval()
    with torch.inference_mode():
        lengths, capsules = lengths_and_capsules(net.embed(images()))
        logits = net(images()).squeeze(1)
    assert torch.equal(lengths, torch.linalg.vector_norm(capsules, dim=-1))
    assert torch.allclose(logits, 5 * (lengths[:, 1] - lengths[:, 0]), atol=1e-6)
    assert not any(one.requires_grad for one in net.head.parameters())


@pytest.mark.parametrize(
    "activation", ["or_ail", "gelu", {"name": "pvlu", "per": "pixel"}, {"name": "arelu"}]
)
@pytest.mark.parametrize("size_px", [20, 64])
def test_the_convolutions_take_any_activation(activation, size_px):
    net = network(activation, size_px=size_px)
    assert torch.isfinite(net(images())).all()


def test_folded_layers_say_the_same_and_routing_weights_keep_their_order_in_memory():
    net = network(size_px=64)
    net(images(8))  # the batch norms of the stem see something
    net.eval()
    with torch.inference_mode():
        assert torch.allclose(fused(net)(images()), net(images()), atol=1e-5)
    assert all(one.weight.is_contiguous() for one in net.modules() if isinstance(one, CapsuleLayer))


def test_the_margin_loss_is_that_of_the_formula():
    lengths = torch.tensor([[0.2, 0.6], [0.95, 0.05]])
    # 0.5 * 0.1 ** 2 + 0.3 ** 2, and nothing where both margins are kept.
    assert float(margin_loss(lengths, torch.tensor([1, 0]))) == pytest.approx(0.095 / 2)
    # 0.7 ** 2 + 0.5 * 0.5 ** 2, and 0.5 * 0.85 ** 2 + 0.85 ** 2.
    expected = (0.49 + 0.125 + 0.36125 + 0.7225) / 2
    assert float(margin_loss(lengths, torch.tensor([0, 1]))) == pytest.approx(expected)


@torch.no_grad()
def test_the_decoder_draws_the_true_class_in_training_and_the_longest_capsule_afterwards():
    net = network()
    loss = build_loss(Choice(name="margin", parameters={"reconstruction": 0.5}))(net)
    outcome = Outcome(images=[images()], features=net.embed(images()), logits=torch.zeros(2))
    lengths, capsules = lengths_and_capsules(outcome.features)
    longest = lengths.argmax(dim=1)
    target = seen_picture([images()], 20)
    for mode, shown in ((True, 1 - longest), (False, longest)):
        drawn = loss.decoder(capsules * nn.functional.one_hot(shown, 2).unsqueeze(2), shown)
        errors = (drawn - target).square().sum() / 2
        expected = margin_loss(lengths, 1 - longest) + 0.5 * errors
        got = loss.train(mode)(outcome, (1 - longest).float())
        assert float(got) == pytest.approx(float(expected), rel=1e-5)


def test_a_decoder_draws_pixels_within_0_and_1_at_the_side_that_capsules_see():
    pixels = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    pixels[0, 0, :2, :2] = torch.tensor([[0, 255], [255, 0]])
    picture = seen_picture([pixels, pixels + 51], 2)
    assert picture.shape == (1, 6, 2, 2)
    assert picture[0, 0].tolist() == [[0.5, 0.0], [0.0, 0.0]]
    assert torch.allclose(picture[0, 4], torch.tensor(0.2))


def test_without_reconstruction_there_is_no_decoder():
    loss = build_loss(Choice(name="margin", parameters={"reconstruction": 0.0}))(network())
    assert isinstance(loss, MarginLoss)
    assert count(loss) == 0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    out = tmp_path_factory.mktemp("capsules") / "out"
    return train(recipe(average_weights=0.9), out, tiles=make_tiles(), progress=False)


def test_a_bundle_has_no_decoder_and_is_loaded_with_its_head(bundle):
    names = bundle.network.state_dict()
    assert not [name for name in names if "decoder" in name]
    assert names["head.weight"][0, :2].tolist() == [-5.0, 5.0]
    assert bundle.card.model.architecture.name == "mocapsnet"
    checkpoint = torch.load(bundle.folder.parent / "last.ckpt", weights_only=True)
    assert [name for name in checkpoint["state_dict"] if name.startswith("loss.decoder")]


def test_decoder_and_routing_weights_learn(bundle):
    start = DamageModule(network(), recipe().training)
    learned = torch.load(bundle.folder.parent / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in start.state_dict().items():
        if name.endswith("weight") and "head" not in name:
            assert not torch.equal(value, learned[name]), name


@pytest.mark.parametrize(
    ("optimizer", "sigma"),
    [
        ({"name": "adamw"}, None),
        ({"name": "l_adam", "sigma": 1e-4}, 1e-4),
        ({"name": "l_adam", "sigma": 1e-4, "first_fraction": 1.0}, 1e-4),
        ({"name": "l_adam", "sigma": 1e-4, "first_fraction": 0.5}, 0.0),
        ({"name": "l_adam", "sigma": 1e-4, "layers": "convolution"}, 0.0),
    ],
)
def test_noise_for_some_layers_stays_out_of_the_decoder_and_only_its_kernels_decay(
    optimizer, sigma
):
    asked = recipe(optimizer={"lr": 0.01, "weight_decay": 0.1, **optimizer})
    module = DamageModule(network(), asked.training)
    module.trainer = SimpleNamespace(estimated_stepping_batches=10)
    groups = module.configure_optimizers()["optimizer"].param_groups
    of = {id(each): group for group in groups for each in group["params"]}
    decoder = dict(module.loss.named_parameters())
    assert len(decoder) == 6
    for path, parameter in decoder.items():
        group = of[id(parameter)]
        assert group["weight_decay"] == (0.1 if path.endswith("weight") else 0.0)
        assert group.get("sigma") == sigma


def test_an_interrupted_training_continues_to_the_same_weights(bundle, tmp_path, monkeypatch):
    class PowerCutError(Exception):
        pass

    def cut(module):
        if module.current_epoch == 1:
            raise PowerCutError

    again = recipe(average_weights=0.9)
    with monkeypatch.context() as patch:
        patch.setattr(DamageModule, "on_train_epoch_start", cut)
        with pytest.raises(PowerCutError):
            train(again, tmp_path, tiles=make_tiles(), progress=False)
    own = train(again, tmp_path, tiles=make_tiles(), progress=False).network.state_dict()
    other = bundle.network.state_dict()
    assert all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma": 0}, "model.architecture: gamma must be above 0 and at most 1, got 0"),
        ({"gamma": 1.2}, r"mocapsnet.gamma must be a number within 0.0\.\.1.0, got 1.2"),
        ({"routing_iters": 0}, r"routing_iters must be a whole number within 1\.\.10, got 0"),
        ({"routing": "em"}, "mocapsnet.routing must be one of rba, sda, got 'em'"),
        ({"stem": "none", "size_px": 65}, "above 64 px with a stem only, got size_px 65 and"),
        ({"width": 12}, "mocapsnet.width must be a multiple of 8, got 12"),
        ({"reversible": 1}, "reversible must be one of False, True, got 1"),
        ({"blocks": 0}, "blocks must be a whole number within"),
    ],
)
def test_parameters_that_make_no_network_are_refused_before_data_is_read(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_recipe(recipe(SMALL | changes))


def test_without_a_stem_the_usual_chips_are_too_large():
    with pytest.raises(ConfigError, match="got size_px 128 and stem none: set stem to conv"):
        check_recipe(recipe({"name": "mocapsnet", "stem": "none"}))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"loss": "bce"}, "training.loss is 'bce', and model.architecture 'mocapsnet' says a"),
        ({"precision": "bf16-mixed"}, "precision is bf16-mixed, too coarse to compute"),
        ({"loss": {"name": "margin", "reconstruction": -1}}, "tion must be at least 0 .*, got -1"),
        (
            {"loss": {"name": "margin", "reconstruction": math.nan}},
            "reconstruction must .* got nan",
        ),
        (
            {"loss": {"name": "margin", "reconstruction": math.inf}},
            "reconstruction must .* got inf",
        ),
        (
            {"reinit": {"name": "head", "every": 1}},
            r"training\.reinit: the head of model\.architecture 'mocapsnet' is fixed",
        ),
        ({"loss": {"name": "margin", "label_smoothing": 0.1}}, "it takes: reconstruction"),
    ],
)
def test_a_training_that_does_not_suit_capsules_is_refused(training, message):
    with pytest.raises(ConfigError, match=message):
        check_recipe(recipe(**training))


def test_stored_activations_may_be_coarse_and_gamma_zero():
    check_recipe(recipe(SMALL | {"reversible": False, "gamma": 0}, precision="bf16-mixed"))


@pytest.mark.parametrize(
    ("changes", "warned"),
    [({"gamma": 0.8}, True), ({"blocks": 11}, True), ({"blocks": 10}, False)],
)
def test_steps_that_cannot_be_rebuilt_exactly_are_warned_of(changes, warned, caplog):
    with caplog.at_level(logging.WARNING):
        check_recipe(recipe(SMALL | changes))
    assert ("rounding may spoil the gradients" in caplog.text) == warned


def test_the_shipped_recipe_is_sound_and_its_bundle_small():
    shipped = read_recipe(Path("mocapsnet"))
    check_recipe(shipped)
    with torch.device("meta"):
        net = build_network(shipped.model, pixel_mean=(0, 0, 0), pixel_std=(1, 1, 1))
    assert count(net) == 1_101_955
