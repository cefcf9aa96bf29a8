"""Training with stochastic depth: it continues, its bundle predicts, weights come and go."""

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from made_tiles import make_recipe, make_tiles

from damagenet.bundle import load_bundle
from damagenet.errors import ConfigError
from damagenet.inference import Predictor
from damagenet.recipe import Choice, ModelSettings
from damagenet.training.checks import check_recipe
from damagenet.training.data import open_training_data
from damagenet.training.hardware import Hardware
from damagenet.training.lightning_module import DamageModule, network_state
from damagenet.training.start import start_network
from damagenet.training.train import train
from damagenet.training.trainer import make_trainer
from models.factory import build_network, build_pretrained
from models.stochastic_depth import ChanceSum
from models.transfer import torchvision_nets

DEEP = {
    "architecture": {"name": "cifar_resnet", "depth": 14, "width": 8},
    "regulariser": {"name": "stochastic_depth", "p_last": 0.3},
}


def recipe_of(model, **training):
    recipe = make_recipe(**training)
    return recipe.model_copy(update={"model": ModelSettings.model_validate(model)})


def trained(out, recipe):
    return train(recipe, out, tiles=make_tiles(), progress=False)


def started(recipe):
    return start_network(recipe, open_training_data(recipe, make_tiles())).eval()


def images(n=4, size_px=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size_px, size_px), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("deep") / "out", recipe_of(DEEP))


def test_the_bundle_knows_its_stochastic_depth_and_predicts_as_what_was_trained(bundle):
    card = load_bundle(bundle.folder).card
    assert card.model.regulariser.parameters == {"p_last": 0.3}
    checkpoint = torch.load(bundle.folder.parent / "best.ckpt", weights_only=True)
    chips = images(size_px=card.chip.size_px)
    found = Predictor(bundle, device="cpu").logits((chips.numpy(),))
    for regulariser, same in ((card.model.regulariser, True), (Choice(name="none"), False)):
        model = card.model.model_copy(update={"regulariser": regulariser})
        net = build_network(model, pixel_mean=card.pixel_mean, pixel_std=card.pixel_std).eval()
        net.load_state_dict(network_state(checkpoint["state_dict"]))
        with torch.inference_mode():
            expected = net(chips)[:, 0].numpy()
        assert (found == pytest.approx(expected, abs=1e-4)) == same


def test_an_interrupted_training_draws_as_an_uninterrupted_one(bundle, tmp_path, monkeypatch):
    class PowerCutError(Exception):
        pass

    def cut(module):
        if module.current_epoch == 1:
            raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(DamageModule, "on_train_epoch_start", cut)
        with pytest.raises(PowerCutError):
            trained(tmp_path, recipe_of(DEEP))
    assert trained(tmp_path, recipe_of(DEEP)).card.weights_sha256 == bundle.card.weights_sha256


@pytest.mark.parametrize(
    "regulariser",
    [
        "none",
        {"name": "stochastic_depth", "p_last": 0.3},
        {"name": "stochastic_depth", "p_last": 0.3, "scaling": "train"},
        {"name": "stochastic_depth", "p_last": 0.8, "mode": "uniform"},
    ],
)
def test_finetuning_starts_from_what_the_bundle_computes_whatever_rests(bundle, regulariser):
    model = DEEP | {"regulariser": regulariser, "weights": str(bundle.folder)}
    net = started(recipe_of(model, transfer="finetune"))
    assert any(isinstance(part, ChanceSum) for part in net.modules()) == (regulariser != "none")
    expected = load_bundle(bundle.folder).network
    with torch.inference_mode():
        torch.testing.assert_close(net(images()), expected(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaling", ["test", "train"])
def test_finetuning_starts_from_what_imagenet_weights_compute(scaling, monkeypatch, tmp_path):
    torch.manual_seed(1)
    published = torchvision_nets.nets.get_model("resnet18").state_dict()
    monkeypatch.setattr(torchvision_nets, "fetch", lambda *_, **__: tmp_path / "weights.pth")
    monkeypatch.setattr(torchvision_nets, "read_state", lambda *_, **__: dict(published))
    model = {"architecture": "resnet18", "weights": "imagenet"}
    depth = {"name": "stochastic_depth", "p_last": 0.5, "scaling": scaling}
    plain, net = (
        build_pretrained(ModelSettings.model_validate(model | {"regulariser": each})).eval()
        for each in ("none", depth)
    )
    with torch.inference_mode():
        expected = plain.embed(images())
        torch.testing.assert_close(net.embed(images()), expected, rtol=1e-4, atol=1e-5)


def test_a_linear_probe_refuses_stochastic_depth(bundle):
    model = DEEP | {"weights": str(bundle.folder)}
    with pytest.raises(ConfigError, match=r"linear_probe, in which the features rest: leave it"):
        check_recipe(recipe_of(model, transfer="linear_probe"))


@pytest.mark.parametrize("skips", [False, True])
def test_processes_wait_for_no_gradient_of_a_layer_that_rests(skips, tmp_path):
    recipe = make_recipe()
    trainer = make_trainer(
        recipe.training,
        tmp_path,
        hardware=Hardware(devices=2),
        progress=False,
        skips_layers=skips,
    )
    strategy = trainer.strategy
    assert isinstance(strategy, DDPStrategy)
    assert strategy._ddp_kwargs.get("find_unused_parameters", False) == skips
