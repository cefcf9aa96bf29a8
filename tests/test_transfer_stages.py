"""Stages of a network: found in any architecture, trained at their own rate, or frozen."""

import pytest
import torch

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, ModelSettings
from models.factory import build_network, build_pretrained
from models.optimisers import build_optimizer, parameter_roles
from models.stages import freeze, stages


def fresh(**settings):
    model = ModelSettings.model_validate(settings)
    return build_network(model, pixel_mean=(1, 1, 1), pixel_std=(1, 1, 1))


def pretrained():
    settings = {"architecture": "efficientnet_lite0", "weights": "imagenet"}
    return build_pretrained(ModelSettings.model_validate(settings))


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("compact_resnet", ["stem", "stage1", "stage2", "stage3"]),
        ("cao_choe", ["conv1", "conv2", "conv3", "conv4", "dense"]),
        ("resnet18", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        ("densenet121", ["features.conv0", "features.denseblock1", "features.transition1"]),
        ("vit_b_32", ["conv_proj", "encoder.layers.encoder_layer_0"]),
        ("mnasnet0_5", ["layers.0", "layers.3", "layers.6", "layers.8"]),
    ],
)
def test_stages_run_from_the_image_to_the_head_and_hold_every_parameter(architecture, names):
    with torch.device("meta"):
        network = fresh(architecture=architecture)
    found = stages(network)
    assert [stage.name.removeprefix("backbone.") for stage in found][: len(names)] == names
    held = [id(parameter) for stage in found for parameter in stage.parameters()]
    assert sorted(held) == sorted(map(id, network.features.parameters()))


def test_a_trained_activation_belongs_to_the_stage_before_it():
    network = fresh(architecture="cao_choe", activation={"name": "prelu", "per": "channel"})
    assert [stage.name for stage in stages(network)] == [
        "conv1",
        "conv2",
        "conv3",
        "conv4",
        "dense",
    ]
    freeze(network, 1)
    fixed = {name for name, each in network.named_parameters() if not each.requires_grad}
    assert len(fixed) == 3
    assert all(name.startswith(("features.conv1.", "features.activation1.")) for name in fixed)


def test_the_learning_rate_falls_from_the_head_to_the_first_stage():
    network = fresh(activation="prelu")
    choice = Choice(name="sgd", parameters={"lr": 1.0, "weight_decay": 0.1})
    rates = {
        id(parameter): group["lr"]
        for group in build_optimizer(choice, network, layer_decay=0.5).param_groups
        for parameter in group["params"]
    }
    assert rates[id(network.head.weight)] == 1.0
    for distance, stage in enumerate(reversed(stages(network)), start=1):
        assert {rates[id(each)] for each in stage.parameters()} == {0.5**distance}
    assert len(rates) == len(list(network.parameters()))


def test_the_rate_of_activations_counts_at_every_depth():
    network = fresh(activation="prelu")
    choice = Choice(name="sgd", parameters={"lr": 1.0})
    optimizer = build_optimizer(choice, network, layer_decay=0.5, activation_lr=0.3)
    wanted = {id(each) for each in parameter_roles(network).activations}
    found = {
        id(each): group["lr"]
        for group in optimizer.param_groups
        for each in group["params"]
        if id(each) in wanted
    }
    assert found == dict.fromkeys(wanted, 0.3)


def test_embeddings_of_a_transformer_do_not_decay():
    with torch.device("meta"):
        roles = parameter_roles(fresh(architecture="vit_b_32"))
    shapes = {tuple(each.shape) for each in roles.offsets}
    assert {(1, 1, 768), (1, 50, 768)} <= shapes


def test_frozen_stages_take_no_statistics():
    network, before = pretrained().train(), pretrained().state_dict()
    for module in freeze(network, 2):
        module.eval()
    network(torch.zeros(2, 3, 32, 32))
    state = network.state_dict()
    moved = {name for name in state if not torch.equal(state[name], before[name])}
    still = tuple(f"features.backbone.{name}." for name in ("stem", "stage1"))
    assert "features.backbone.stage2.0.layers.1.running_mean" in moved
    assert not any(name.startswith(still) for name in moved)


def test_more_stages_than_there_are_cannot_be_frozen():
    message = "training.freeze_stages is 5, the network has 4 stages: stem, stage1, stage2, stage3"
    with pytest.raises(ConfigError, match=message):
        freeze(fresh(), 5)
