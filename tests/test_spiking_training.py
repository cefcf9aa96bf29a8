"""Spiking networks trained: resumed, asked by the number of steps they learned, shown."""

import json

import pytest
import torch
from made_tiles import make_recipe, make_tiles
from typer.testing import CliRunner

from damagenet.bundle import load_bundle
from damagenet.cli.main import app
from damagenet.errors import BundleError
from damagenet.inference import Predictor
from damagenet.recipe import Recipe
from damagenet.training.lightning_module import DamageModule
from damagenet.training.train import train

ARCHITECTURE = {"name": "sresnet", "n": 1, "width": 4, "time_steps": 3, "coding": "poisson"}


def spiking(**training: object) -> Recipe:
    told = make_recipe(**training).model_dump()
    told["model"] |= {"architecture": ARCHITECTURE, "init": {"name": "xavier", "gain": 2}}
    return Recipe.model_validate(told)


def trained(out, recipe):
    return train(recipe, out, tiles=make_tiles(), progress=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("spiking") / "out", spiking())


def test_an_interrupted_training_continues_to_the_same_weights(bundle, tmp_path, monkeypatch):
    class PowerCutError(Exception):
        pass

    def cut(module):
        if module.current_epoch == 1:
            raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(DamageModule, "on_train_epoch_start", cut)
        with pytest.raises(PowerCutError):
            trained(tmp_path, spiking())
    assert trained(tmp_path, spiking()).card.weights_sha256 == bundle.card.weights_sha256


def test_rounds_standardise_what_enters_each_stage(tmp_path):
    rounds = {"name": "layerwise", "rounds": 4}
    made = trained(tmp_path, spiking(reinit=rounds, epochs=1, select_on="loss"))
    assert made.card.standardised == {"stage1": 4, "stage2": 4, "stage3": 8}
    stage = load_bundle(made.folder).network.features.stage3
    entering = []
    stage[0].register_forward_pre_hook(lambda block, given: entering.append(given[0]))
    stage(stage.entering_mean.view(1, -1, 1, 1).expand(3, -1, 8, 8))
    assert not entering[0].any()
    assert not torch.equal(stage.entering_std, torch.ones(8))


def test_a_verdict_depends_neither_on_the_other_chips_nor_on_what_was_drawn(bundle):
    chips = make_tiles().pixels[:5].transpose(0, 3, 1, 2).copy()
    card = bundle.card
    small = card.chip.model_copy(update={"size_px": chips.shape[-1]})
    object.__setattr__(bundle, "card", card.model_copy(update={"chip": small}))
    predictor = Predictor(bundle, device="cpu")
    together = predictor.logits((chips,))
    torch.rand(3)
    assert (predictor.logits((chips,)) == together).all()
    assert predictor.logits((chips[2:3],)) == pytest.approx(together[2:3], abs=1e-5)
    object.__setattr__(bundle, "card", card)


def test_the_card_and_the_command_line_say_how_often_neurons_spike(bundle):
    rates = bundle.card.firing_rates
    assert next(iter(rates)) == "stem"
    assert len(rates) == 7
    shown = CliRunner().invoke(app, ["models", "show", str(bundle.folder)]).stdout
    assert "(sresnet, default, " in shown
    assert f"stem             {100 * rates['stem']:5.1f} %" in shown


def test_another_number_of_time_steps_than_trained_is_refused(bundle, tmp_path):
    for path in bundle.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    told = json.loads((tmp_path / "card.json").read_text())
    told["model"]["architecture"]["parameters"]["time_steps"] = 5
    (tmp_path / "card.json").write_text(json.dumps(told))
    with pytest.raises(BundleError, match="trained for 3 time steps, its card says 5"):
        load_bundle(tmp_path)
