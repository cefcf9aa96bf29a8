"""Swapping in every family of torchvision and in timm: nothing is missed, nothing else changes."""

import copy

import pytest
import torch
from swapping import MARKER, activations_in, images, maker, operations, outputs, placed
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig

from models.swap import activation_sites, swap_activations


def narrow_vgg() -> nn.Module:
    with torch.device("meta"):
        network = models.vgg11_bn(init_weights=False)
    features = models.vgg.make_layers(models.vgg.cfgs["A"], batch_norm=True)
    classifier = copy.deepcopy(network.classifier)
    for at, (given, kept) in {0: (512 * 49, 16), 3: (16, 16), 6: (16, 10)}.items():
        classifier[at] = nn.Linear(given, kept)
    network.features, network.classifier = features, classifier
    return network


def small_swin() -> nn.Module:
    return models.SwinTransformer(
        patch_size=[4, 4], embed_dim=12, depths=[1, 2], num_heads=[1, 2], window_size=[4, 4]
    )


def small_vit() -> nn.Module:
    return models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=4, num_heads=2, hidden_dim=16, mlp_dim=32
    )


def small_convnext() -> nn.Module:
    return models.ConvNeXt(
        [CNBlockConfig(8, 16, 2), CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 2)]
    )


def small_maxvit() -> nn.Module:
    return models.MaxVit(
        input_size=(64, 64),
        stem_channels=8,
        partition_size=2,
        block_channels=[8, 16],
        block_layers=[1, 1],
        head_dim=4,
        stochastic_depth_prob=0.2,
    )


TORCHVISION = {
    "convnext": small_convnext,
    "densenet": lambda: models.DenseNet(8, (2, 2, 2), 16),
    "efficientnet_b0": models.efficientnet_b0,
    "googlenet": lambda: models.googlenet(init_weights=False),
    "inception_v3": lambda: models.inception_v3(init_weights=False, aux_logits=False),
    "maxvit": small_maxvit,
    "mnasnet0_5": models.mnasnet0_5,
    "mobilenet_v2": models.mobilenet_v2,
    "mobilenet_v3_small": models.mobilenet_v3_small,
    "regnet_y": lambda: models.RegNet(
        models.regnet.BlockParams.from_init_params(5, 24, 60.0, 2.4, 8, se_ratio=0.25)
    ),
    "resnet18": models.resnet18,
    "resnet_of_bottlenecks": lambda: models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1]),
    "shufflenet_v2_x0_5": models.shufflenet_v2_x0_5,
    "squeezenet1_1": models.squeezenet1_1,
    "swin": small_swin,
    "vgg11_bn": narrow_vgg,
    "vit": small_vit,
}
"""The families that are too large for a quick test are built smaller from the same classes."""
TIMM = {
    "convnext_atto": 64,
    "dla46_c": 64,
    "efficientnet_b0": 64,
    "resnet18": 64,
    "tf_efficientnet_lite0": 64,
    "vit_tiny_patch16_224": 224,
}
SIZES = {"inception_v3": 96}


@pytest.fixture(params=[*TORCHVISION, *(f"timm:{name}" for name in TIMM)])
def family(request):
    """Return a network with random weights and images that it takes."""
    torch.manual_seed(0)
    kind, _, name = request.param.rpartition(":")
    if kind == "timm":
        timm = pytest.importorskip("timm", reason="timm is not installed: extra damagenet[timm]")
        network, size_px = timm.create_model(name), TIMM[name]
    else:
        network, size_px = TORCHVISION[name](), SIZES.get(name, 64)
    # Many start with zeros in the head or at a block's end, which would hide every change.
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.min() == parameter.max():
                parameter.add_(torch.empty_like(parameter).uniform_(0, 0.05))
    return network, images(size_px)


def test_the_function_that_was_there_leaves_outputs_and_keys_as_they_were(family):
    network, batch = family
    before, keys = outputs(network, batch), list(network.state_dict())
    functions = {site.function for site in activation_sites(network, batch)}
    for function in functions:
        same = maker("relu" if function == "relu6" else function)
        swap_activations(network, same, example=batch, kinds=[function])
    assert before.std() > 0
    assert torch.equal(outputs(network, batch), before)
    assert list(network.state_dict()) == keys
    network.train()
    given = network(batch)
    loss = given.sum() if isinstance(given, torch.Tensor) else sum(each.sum() for each in given)
    loss.backward()
    assert all(each.grad is not None for each in network.parameters())


def test_no_activation_is_missed_and_each_has_an_instance_of_its_own(family):
    network, batch = family
    before = {mode: operations(network, batch, training=mode) for mode in (True, False)}
    swapped = swap_activations(network, maker(MARKER), example=batch)
    for mode, counts in before.items():
        after = operations(swapped, batch, training=mode)
        assert activations_in(counts) > 0
        assert activations_in(after) == 0
        assert after["cos"] == activations_in(counts)
        assert after["sigmoid"] == counts["sigmoid"]
        assert after["hardsigmoid"] == counts["hardsigmoid"]
    sites = placed(swapped)
    assert len({id(site.function) for site in sites}) == len(sites)
    assert len(sites) == activations_in(before[True])
