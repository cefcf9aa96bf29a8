"""Slope recovery: what adaptive activations add to the training loss."""

import pytest
import torch
from torch import nn

from damagenet.recipe import Choice, ModelSettings, TrainingSettings
from damagenet.training.lightning_module import DamageModule
from models.activations import Activation, penalty
from models.classifier import Classifier
from models.factory import build_network


def network(name: str, **parameters: float | str) -> Classifier:
    model = ModelSettings(
        architecture=Choice(name="compact_resnet", parameters={"width": 8}),
        activation=Choice(name=name, parameters=parameters),
    )
    return build_network(model, pixel_mean=(100, 110, 90), pixel_std=(40, 50, 60), size_px=64)


def sites_of(net: nn.Module) -> list[Activation]:
    return [site for site in net.modules() if isinstance(site, Activation)]


@pytest.mark.parametrize(
    ("name", "parameters"), [("l_laaf", {}), ("n_laaf", {"per": "channel"}), ("n_laaf", {})]
)
def test_slope_recovery_has_the_value_of_the_paper_s_example(name, parameters):
    extra = penalty(network(name, n=10, **parameters))
    assert extra.item() == pytest.approx(0.9048374180, rel=1e-6)


def test_slope_recovery_takes_the_mean_over_layers_and_pushes_slopes_up():
    net = network("l_laaf", n=1, recovery=0.5)
    sites = sites_of(net)
    for number, site in enumerate(sites):
        site.function.coefficients.a.data.fill_(number / 10)
    extra = penalty(net)
    exponentials = torch.exp(torch.arange(9) / 10)
    assert extra.item() == pytest.approx(0.5 / exponentials.mean().item(), rel=1e-6)
    extra.backward()
    assert all(site.function.coefficients.a.grad < 0 for site in sites)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("relu", {}), ("laaf", {}), ("pvlu", {}), ("l_laaf", {"learnable": False})],
)
def test_other_activations_add_nothing_to_the_loss(name, parameters):
    assert penalty(network(name, **parameters)) is None


@pytest.mark.parametrize("name", ["l_laaf", "n_laaf"])
def test_training_adds_it_to_the_loss_and_validation_does_not(name):
    module = DamageModule(network(name, n=10, recovery=3.0), TrainingSettings())
    plain = DamageModule(network(name, n=10, recovery=0.0), TrainingSettings())
    plain.network.load_state_dict(module.network.state_dict())
    batch = ([torch.zeros(2, 3, 64, 64, dtype=torch.uint8)], torch.tensor([0.0, 1.0]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = module.training_step(batch, 0)
        torch.manual_seed(0)
        without = plain.training_step(batch, 0)
    assert loss.item() - without.item() == pytest.approx(3 * 0.9048374180, rel=1e-5)
    assert module.train_loss.compute() == plain.train_loss.compute()
    module.eval().validation_step(batch, 0)
    plain.eval().validation_step(batch, 0)
    assert module.validation_loss.compute() == plain.validation_loss.compute()
