"""The options of the Cao and Choe network: each one a line, and nothing where it is off."""

from pathlib import Path

import pytest
import torch
from torch import nn

from damagenet.recipe import Choice, read_recipe
from damagenet.training.checks import check_recipe
from data_prep.augmentation_steps import CaoChoeParameters
from models.activations import activation_maker
from models.cao_choe import cao_choe

RECIPES = (Path("configs/all_cnn.yaml"), Path("configs/cao_choe.yaml"))


def features(activation: str = "relu", **dropouts: float) -> nn.Module:
    torch.manual_seed(0)
    make = activation_maker(Choice(name=activation))
    return cao_choe(channels_in=3, size_px=46, make=make, **dropouts)[0]


def test_both_dropouts_stand_beside_the_dense_layer():
    names = [name for name, _ in features().named_children()]
    assert names[-5:] == ["flatten", "dropout", "dense", "activation5", "dense_dropout"]
    made = features(dropout=0.25, dense_dropout=0.5)
    assert (made.dropout.p, made.dense_dropout.p) == (0.25, 0.5)


def test_without_dropout_training_is_evaluation_to_the_bit_and_draws_nothing():
    made = features()
    images = torch.randn(2, 3, 46, 46)
    state = torch.random.get_rng_state()
    assert torch.equal(made.train()(images), made.eval()(images))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_dropout_of_the_dense_layer_zeroes_half_of_what_it_says():
    made = features("leaky_relu", dense_dropout=0.5).train()
    said = made(torch.randn(8, 3, 46, 46))
    assert 0.45 < (said == 0).float().mean() < 0.55


def test_leaky_relu_lets_what_is_negative_through():
    assert (features("leaky_relu")(torch.randn(2, 3, 46, 46)) < 0).any()


def test_the_augmentation_has_the_ranges_of_the_published_recipe():
    assert CaoChoeParameters().model_dump() == {
        "rotation_deg": 40,
        "shift": 0.2,
        "shear_deg": 11.5,
        "zoom": 0.2,
    }


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipe_can_be_trained(path):
    check_recipe(read_recipe(path))


@pytest.mark.parametrize(
    "line",
    [
        "data.augmentation=none",
        "model.activation=leaky_relu",
        "model.architecture.dense_dropout=0.5",
        "model.architecture.size_px=150",
        "training.optimizer.weight_decay=1e-4",
        "training.optimizer={name: rmsprop, lr: 1e-4, alpha: 0.9}",
    ],
)
def test_every_option_is_a_line(line):
    check_recipe(read_recipe(RECIPES[1], overrides=[line]))
