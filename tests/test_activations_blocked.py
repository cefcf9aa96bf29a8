"""Without gradients a function is computed in blocks, and gives what it gives in one go."""

import pytest
import torch
from torch import nn

from models.activations import ACTIVATIONS, blocked, build_activation, fused
from models.activations.function import Value

NAMES = sorted(name for name, function in ACTIVATIONS.items() if function.value is not None)
SIZES = {"images": (9, 16, 6, 6), "rows": (2, 16, 19, 10), "vectors": (300, 16)}


def made(name: str, per: str | None = None) -> nn.Module:
    """Return a layer for 16 channels whose trained numbers are no longer those of its start."""
    if per is None and ACTIVATIONS[name].per == "pixel":
        per = "channel"
    layer = build_activation(name, channels=16, **({"per": per} if per else {})).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in layer.parameters():
        parameter.data.add_(0.2 * torch.rand(parameter.shape, generator=generator))
    return layer


def numbers(size: str) -> torch.Tensor:
    """Return features of a size, images channels-last as networks run them."""
    features = 2 * torch.randn(SIZES[size], generator=torch.Generator().manual_seed(0))
    return features.to(memory_format=torch.channels_last) if features.ndim == 4 else features


@pytest.fixture
def small(monkeypatch):
    """Let blocks be so small that a few thousand numbers are many of them."""
    monkeypatch.setattr(blocked, "BLOCK", 640)


@pytest.fixture
def blocks(monkeypatch):
    """Count the blocks that are computed."""
    seen: list[tuple[int, ...]] = []
    real = fused.in_blocks

    def counting(compute: blocked.Compute, features: torch.Tensor) -> torch.Tensor:
        def counted(part: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(part.shape))
            return compute(part)

        return real(counted, features)

    monkeypatch.setattr(fused, "in_blocks", counting)
    return seen


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_blocks_give_what_the_whole_gives(name, size):
    layer, features = made(name), numbers(size)
    whole = layer(features)
    with torch.no_grad():
        divided = layer(features)
    # One number more or less at the end of a loop takes another path through the same formula.
    torch.testing.assert_close(divided, whole.detach(), rtol=1e-6, atol=1e-7)
    assert divided.stride() == whole.stride()


PLACES = {
    "tokens": ((8, 19, 48), -1),
    "tokens named from the front": ((8, 19, 48), 2),
    "channels last": ((8, 14, 14, 48), -1),
    "channels in the middle": ((8, 14, 48, 14), 2),
    "sequences": ((8, 48, 30), 1),
    "volumes": ((4, 48, 3, 6, 6), 1),
    "vectors": ((300, 48), -1),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "name", ["crelu", "or_ail", "and_or_xnor_nil", "max_min", "signed_geomean", "pynada", "pvlu"]
)
def test_channels_may_stand_anywhere(name, place):
    shape, dim = PLACES[place]
    if name == "pynada" and dim % len(shape) != 1:
        pytest.skip("a neuron has its own axis")
    layer = build_activation(name, channels=48, dim=dim).eval()
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    whole = layer(features)
    with torch.no_grad():
        divided = layer(features)
    torch.testing.assert_close(divided, whole.detach(), rtol=1e-6, atol=1e-7)


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore")  # tracing is deprecated, and warns of much
@pytest.mark.parametrize("name", ["or_ail", "crelu", "pvlu"])
def test_a_trace_holds_for_other_batches(name):
    layer, features = made(name), numbers("images")
    with torch.no_grad():
        traced = torch.jit.trace(layer, features[:4], check_trace=False)
        torch.testing.assert_close(traced(features), layer(features))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["or_ail", "pvlu"])
def test_a_function_can_be_mapped_over_a_batch(name):
    layer, features = made(name), numbers("images")
    with torch.no_grad():
        mapped = torch.func.vmap(layer, in_dims=1, out_dims=1)(features[:, None])
    torch.testing.assert_close(mapped[:, 0], layer(features).detach())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_blocks_keep_the_type(dtype):
    layer, features = made("colu").to(dtype), numbers("images").to(dtype)
    with torch.no_grad():
        divided = layer(features)
    torch.testing.assert_close(divided, layer(features).detach(), rtol=0, atol=0)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("per", ["layer", "channel"])
def test_numbers_of_a_channel_stay_with_it(per, blocks):
    layer = made("pvlu", per)
    for size in SIZES:
        features = numbers(size)
        with torch.no_grad():
            divided = layer(features)
        torch.testing.assert_close(divided, layer(features).detach(), rtol=1e-6, atol=1e-7)
    assert len(blocks) > len(SIZES)


@pytest.mark.usefixtures("small")
def test_images_larger_than_a_block_are_cut_at_rows(blocks):
    with torch.no_grad():
        made("colu")(numbers("rows"))
    assert blocks == [(1, 16, 4, 10)] * 4 + [(1, 16, 3, 10)] + [(1, 16, 4, 10)] * 4 + [
        (1, 16, 3, 10)
    ]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["abrelu", "or_ail"])
def test_features_whose_channels_stand_first_and_averages_are_not_cut(name, blocks):
    layer = build_activation(name, channels=9, dim=0).eval() if name == "or_ail" else made(name)
    features = numbers("images")[:8]
    with torch.no_grad():
        layer(features)
    assert not blocks


@pytest.mark.usefixtures("small")
def test_numbers_of_a_pixel_are_not_cut(blocks):
    layer = build_activation("pvlu", channels=16, per="pixel", shape=(16, 6, 6))
    with torch.no_grad():
        layer(numbers("images"))
    assert not blocks


@pytest.mark.usefixtures("small")
def test_noise_is_drawn_over_the_whole(blocks):
    layer = made("probact").train()
    with torch.no_grad():
        layer(numbers("images"))
    assert not blocks


@pytest.mark.parametrize("name", ["colu", "or_ail"])
def test_a_training_validates_by_kernels_with_equal_values(name, monkeypatch):
    monkeypatch.setattr(fused, "SMALLEST", 1000)
    layer, features = made(name), numbers("images")
    kernels: list[str] = []
    real = fused._kernel

    def counting(value: Value, fixed: fused.Fixed) -> fused.Kernel:
        kernels.append(name)
        return real(value, fixed)

    monkeypatch.setattr(fused, "_kernel", counting)
    with torch.inference_mode():
        usual = layer(features)
        assert not kernels
        with fused.kernels_without_gradients():
            compiled = layer(features)
        assert kernels
        layer(features)
    assert len(kernels) == 1
    monkeypatch.undo()
    fused.forget_kernels()  # other tests count them
    torch.testing.assert_close(compiled, usual, rtol=1e-5, atol=1e-6)
    assert compiled.stride() == usual.stride()
