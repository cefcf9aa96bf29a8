"""Backbones: found by name, built without a head, of any size, with any activation."""

import copy

import pytest
import torch
from torch import nn
from torchvision import models as nets
from torchvision.models.regnet import BlockParams

from damagenet.errors import BundleError, ConfigError
from damagenet.recipe import ModelSettings
from models.activations import Activation
from models.factory import build_network, build_pretrained, check_model
from models.transfer.backbone import Backbone
from models.transfer.table import find_backbone
from models.transfer.torchvision_nets import load_published, torchvision_names

MEAN, STD = (100.0, 110.0, 90.0), (40.0, 50.0, 60.0)


def network(**settings):
    built = build_network(ModelSettings.model_validate(settings), pixel_mean=MEAN, pixel_std=STD)
    return built.eval()


def pretrained(inputs=("post",), **settings):
    model = ModelSettings.model_validate({"weights": "imagenet", **settings})
    return build_pretrained(model, inputs=inputs).eval()


def backbone(name) -> Backbone:
    found = find_backbone(name)
    assert found is not None
    return found


def images(n=2, size_px=128):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size_px, size_px), generator=generator, dtype=torch.uint8)


def randomised(net):
    """Give a network statistics and weights that no fresh one has."""
    generator = torch.Generator().manual_seed(1)
    for value in net.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator))
    return net


@pytest.fixture
def without_memory(monkeypatch):
    """Build on torch's meta device: shapes and no numbers."""
    counted = BlockParams.from_init_params.__func__

    # RegNets count their blocks with tensors, which must hold numbers.
    def on_cpu(kind, *given, **named):
        with torch.device("cpu"):
            return counted(kind, *given, **named)

    monkeypatch.setattr(BlockParams, "from_init_params", classmethod(on_cpu))
    with torch.device("meta"):
        yield


@pytest.mark.parametrize("name", torchvision_names())
def test_every_network_of_torchvision_becomes_a_classifier(name, without_memory):
    net = network(architecture=name)
    assert net(torch.empty(2, 3, 128, 128)).shape == (2, 1)
    heads = [part for part in net.modules() if getattr(part, "out_features", 0) == 1000]
    assert heads == []


@pytest.mark.parametrize(
    "name", ["resnet18", "vit_b_32", "swin_t", "inception_v3", "squeezenet1_1"]
)
def test_a_backbone_takes_a_second_image(name, without_memory):
    model = ModelSettings.model_validate({"architecture": name})
    net = build_network(model, pixel_mean=MEAN, pixel_std=STD, inputs=("post", "pre"))
    pixels = torch.empty(2, 3, 128, 128)
    assert net.eval()(pixels, pixels).shape == (2, 1)


def test_the_same_image_twice_gives_the_features_of_the_image_alone():
    alone = pretrained(architecture="efficientnet_lite0")
    pair = pretrained(architecture="efficientnet_lite0", inputs=("post", "pre"))
    pixels = alone.normalise(images(1))
    with torch.inference_mode():
        twice = pair.features(torch.cat([pixels, pixels], dim=1))
        assert torch.allclose(twice, alone.features(pixels), rtol=1e-3, atol=1e-4)


def test_preprocessing_belongs_to_the_weights():
    lite = pretrained(architecture="efficientnet_lite0")
    assert lite.normalise.mean.flatten().tolist() == [127.0] * 3
    assert lite.normalise.std.flatten().tolist() == [128.0] * 3
    usual = backbone("resnet50").weights["IMAGENET1K_V2"]
    assert usual.mean == pytest.approx((123.675, 116.28, 103.53))
    assert usual.std == pytest.approx((58.395, 57.12, 57.375))
    halves = backbone("inception_v3").weights["IMAGENET1K_V1"]
    assert (halves.mean, halves.std) == ((127.5,) * 3, (127.5,) * 3)


def test_pixels_from_minus_one_to_one_are_what_inception_makes_of_imagenets():
    theirs = nets.inception_v3(init_weights=False, transform_input=True)
    mean, std = (
        torch.tensor(each).view(1, 3, 1, 1)
        for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    pixels = images(1).float()
    expected = theirs._transform_input((pixels / 255 - mean) / std)
    assert torch.allclose((pixels - 127.5) / 127.5, expected, atol=1e-5)


def test_torchvisions_best_weights_are_the_usual_ones_and_others_have_names():
    assert list(backbone("resnet50").weights) == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    assert backbone("resnet50").weights_name(None) == "IMAGENET1K_V2"
    # These have no numbers in their head, and caffe's pixels.
    assert "IMAGENET1K_FEATURES" not in backbone("vgg16").weights


def test_a_transformer_works_at_the_size_of_its_weights_unless_told(without_memory):
    assert network(architecture="vit_b_32").features.resize.size_px == 224
    small = network(architecture={"name": "vit_b_32", "size_px": 128})
    assert small.features.backbone.encoder.pos_embedding.shape == (1, 17, 768)
    assert small(torch.empty(1, 3, 64, 64)).shape == (1, 1)
    assert network(architecture="convnext_tiny").features.resize.size_px == 128


def test_position_embeddings_are_resized_to_the_size_asked_for():
    def vit(side):
        return nets.VisionTransformer(side, 16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8)

    source, target = randomised(vit(64)), vit(32)
    load_published(target, source.state_dict(), what="them", size_px=32)
    assert target.encoder.pos_embedding.shape == (1, 5, 8)
    assert torch.equal(target.class_token, source.class_token)
    same = vit(64)
    load_published(same, source.state_dict(), what="them", size_px=64)
    assert torch.equal(same.encoder.pos_embedding, source.encoder.pos_embedding)


def test_extra_heads_in_a_file_are_left_out():
    source = randomised(nets.googlenet(init_weights=False))
    target = nets.googlenet(init_weights=False, aux_logits=False)
    load_published(target, source.state_dict(), what="them", size_px=128)
    assert torch.equal(
        target.inception5b.branch1.conv.weight, source.inception5b.branch1.conv.weight
    )


def test_names_of_old_densenets_are_understood():
    source, target = randomised(nets.densenet121()), nets.densenet121()
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for key, value in source.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    load_published(target, old, what="them", size_px=128)
    assert all(
        torch.equal(value, target.state_dict()[key]) for key, value in source.state_dict().items()
    )


def test_weights_of_another_network_are_refused_in_one_sentence():
    state = nets.squeezenet1_0().state_dict()
    with pytest.raises(BundleError, match="the weights X do not fit the network: Error") as caught:
        load_published(nets.resnet18(), state, what="the weights X", size_px=128)
    assert "\n" not in str(caught.value)


def test_a_backbone_keeps_its_own_activations_unless_another_is_named():
    own = network(architecture="efficientnet_lite0")
    assert not any(isinstance(part, Activation) for part in own.modules())
    assert sum(isinstance(part, nn.ReLU6) for part in own.modules()) == 33
    other = network(architecture="efficientnet_lite0", activation="silu")
    assert sum(isinstance(part, Activation) for part in other.modules()) == 33
    assert not any(isinstance(part, nn.ReLU6) for part in other.modules())


def test_a_rectifier_in_place_of_a_clipped_one_leaves_the_outputs_as_they_were():
    own = pretrained(architecture="efficientnet_lite0")
    same = pretrained(architecture="efficientnet_lite0", activation="relu")
    free = pretrained(
        architecture={"name": "efficientnet_lite0", "keep_clip": False}, activation="relu"
    )
    pixels = own.normalise(images(1))
    with torch.inference_mode():
        assert torch.equal(own.features(pixels), same.features(pixels))
        assert not torch.equal(own.features(pixels), free.features(pixels))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_a_network_with_replaced_activations_can_be_built_again_and_copied(name):
    settings = {"architecture": name, "activation": {"name": "prelu", "per": "channel"}}
    first, again = network(**settings), network(**settings)
    again.load_state_dict(first.state_dict())
    with torch.inference_mode():
        logits = first(images(1, 64))
        assert torch.equal(again(images(1, 64)), logits)
        assert torch.equal(copy.deepcopy(first)(images(1, 64)), logits)


def test_activations_may_be_replaced_in_the_last_stage_alone():
    net = network(architecture={"name": "resnet18", "swap": "last_stage"}, activation="gelu")
    sites = [name for name, part in net.named_modules() if isinstance(part, Activation)]
    assert sites
    assert all(name.startswith("features.backbone.layer4") for name in sites)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "resnt18"}, r"unknown architecture 'resnt18'; choose .*\(resnet18, "),
        ({"architecture": "lraspp"}, r"efficientnet_lite0, torchvision's .*, timm:NAME"),
        (
            {"architecture": {"name": "resnet18", "width": 8}},
            "no parameter 'width'; it takes: size",
        ),
        ({"architecture": {"name": "resnet18", "size_px": 8}}, r"within 32\.\.1024, got 8"),
        (
            {"architecture": {"name": "resnet18", "swap": "some"}},
            "one of all, last_stage, head, got",
        ),
        ({"architecture": {"name": "resnet18", "keep_clip": 1}}, "one of False, True, got 1"),
        (
            {"architecture": "resnet18", "weights": "imagenet:V9"},
            "model.weights: there are no weights 'V9' for 'resnet18'; choose one of: IMAGENET1K_V1",
        ),
        ({"weights": "imagenet"}, "no ImageNet weights for 'compact_resnet': choose a backbone"),
        (
            {"architecture": "resnet18", "activation": "or_ail"},
            "model.activation: activation 'or_ail' changes the number of channels",
        ),
        (
            {"architecture": {"name": "resnet18", "swap": "head"}},
            "parameter swap says where activations are replaced, and the activation is 'default'",
        ),
        (
            {"activation": {"name": "default", "alpha": 1}},
            "model.activation: activation 'default' takes no parameters, got alpha",
        ),
    ],
)
def test_a_wrong_backbone_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        check_model(ModelSettings.model_validate(settings))


def test_a_size_that_a_backbone_cannot_work_at_is_refused():
    with pytest.raises(ConfigError, match=r"'vit_b_32' cannot work at 130 px: .*indivisible"):
        network(architecture={"name": "vit_b_32", "size_px": 130})
    with pytest.raises(
        ConfigError, match=r"'inception_v3' works from 75 px.*64: set its parameter"
    ):
        build_network(
            ModelSettings.model_validate({"architecture": "inception_v3"}),
            pixel_mean=MEAN,
            pixel_std=STD,
            size_px=64,
        )
