"""timm's networks, which come with an extra."""

import sys

import pytest
import torch
from safetensors.torch import save_file

from damagenet.errors import BundleError, ConfigError
from damagenet.recipe import ModelSettings
from models.factory import build_network, build_pretrained, check_model
from models.transfer.table import find_backbone

timm = pytest.importorskip("timm")


def model(architecture, **settings):
    return ModelSettings.model_validate({"architecture": architecture, **settings})


@pytest.mark.parametrize(
    "name",
    [
        "convnext_atto",
        "densenet121",
        "mobilenetv3_small_100",
        "resnet18.a1_in1k",
        "swin_tiny_patch4_window7_224",
        "vit_tiny_patch16_224",
    ],
)
def test_timms_networks_become_classifiers(name):
    with torch.device("meta"):
        net = build_network(model(f"timm:{name}"), pixel_mean=(1, 1, 1), pixel_std=(1, 1, 1)).eval()
        assert net(torch.empty(2, 3, 128, 128)).shape == (2, 1)
    assert net.features.resize.size_px == (224 if name.endswith("224") else 128)


def test_a_fixed_size_may_be_changed():
    asked = {"name": "timm:vit_tiny_patch16_224", "size_px": 64}
    with torch.device("meta"):
        net = build_network(model(asked), pixel_mean=(1, 1, 1), pixel_std=(1, 1, 1)).eval()
    assert net.features.backbone.pos_embed.shape == (1, 17, 192)


def test_weights_are_read_from_a_safetensors_file_in_torchs_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    path = folder / "timm-tf_efficientnet_lite0.in1k.safetensors"
    source = build_pretrained(model("efficientnet_lite0", weights="imagenet")).eval()
    full = timm.create_model("tf_efficientnet_lite0").state_dict()
    values = [*source.features.backbone.state_dict().values(), *list(full.values())[-2:]]
    packed = (value.contiguous() for value in values)
    save_file(dict(zip(full, packed, strict=True)), path)
    net = build_pretrained(model("timm:tf_efficientnet_lite0", weights="imagenet")).eval()
    assert net.normalise.mean.flatten().tolist() == pytest.approx([127.5] * 3)
    pixels = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(net.features(pixels), source.features(pixels))
    path.write_bytes(b"no tensors")
    with pytest.raises(BundleError, match=r"does not hold the weights tf_efficientnet_lite0\.in1k"):
        build_pretrained(model("timm:tf_efficientnet_lite0", weights="imagenet"))


def test_other_weights_are_named_by_timms_tag():
    found = find_backbone("timm:resnet18")
    assert found is not None
    assert next(iter(found.weights)) == "a1_in1k"
    assert {"a2_in1k", "tv_in1k"} <= set(found.weights)
    tagged = find_backbone("timm:resnet18.tv_in1k")
    assert tagged is not None
    assert tagged.weights_name(None) == "tv_in1k"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet1", "timm has no network 'resnet1'; choose .*resnet1"),
        ("timm:resnet18.nothing", "timm has no weights 'resnet18.nothing'"),
    ],
)
def test_an_unknown_network_or_tag_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        check_model(model(name))


def test_without_timm_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        ConfigError, match=r"timm is not installed: pip install 'damagenet\[timm\]'"
    ):
        check_model(model("timm:resnet18"))
