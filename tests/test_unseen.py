"""Ground that a picture does not show: what it is, and that verdicts are made without it."""

import numpy as np
import pytest
import torch

from damagenet.recipe import Choice, ModelSettings
from data_prep.augmentation import build_augmentation
from data_prep.augmentation_steps import AUGMENTATIONS
from data_prep.unseen import unseen_ground
from models.factory import build_network, build_pretrained

TEXTURE = Choice(name="lite0_texture", parameters={"depth": 2})
RNG = np.random.default_rng(0)


def picture(*, size=128):
    """Rough ground of many scales, alike everywhere."""
    coarse = RNG.normal(0, 20, (3, size // 8, size // 8)).repeat(8, axis=1).repeat(8, axis=2)
    fine = RNG.normal(110, 15, (3, size, size))
    return (coarse + fine).clip(1, 255).astype(np.uint8)


def without_right(image, columns):
    cut = image.copy()
    cut[..., -columns:] = 0
    return cut


def network(inputs=("post",)):
    settings = ModelSettings(architecture=TEXTURE, weights="imagenet")
    return build_pretrained(settings, inputs=inputs).eval()


def embedded(net, *images):
    with torch.inference_mode():
        return net.embed(*(torch.from_numpy(image)[None] for image in images))[0]


@pytest.fixture(scope="module")
def net():
    return network()


# What is unseen


def test_a_black_strip_is_unseen_and_a_dark_pixel_is_not():
    pixels = without_right(picture(), 40).transpose(1, 2, 0).copy()
    pixels[60, 30] = pixels[5:9, 5:9] = 0
    unseen = unseen_ground(pixels)
    assert unseen[:, -40:].all()
    assert not unseen[:, :-40].any()
    assert unseen_ground(np.zeros_like(pixels)).all()


# Verdicts without it


@pytest.mark.parametrize("columns", [5, 30, 33, 48])
def test_black_beyond_the_edge_makes_ground_no_rougher(net, columns):
    whole = picture()
    cut = without_right(whole, columns)
    moved = (embedded(net, cut) - embedded(net, whole)).abs().mean()
    # Grey instead of black shows what an edge alone does where nothing is left out.
    grey = np.where(cut == 0, np.uint8(1), cut)
    assert moved < 0.08
    assert (embedded(net, grey) - embedded(net, whole)).abs().mean() > 2 * moved


def test_a_dark_pixel_changes_next_to_nothing(net):
    whole = picture()
    dotted = whole.copy()
    dotted[:, 64, 64] = 0
    dark = whole.copy()
    dark[:, 64, 64] = 1
    torch.testing.assert_close(embedded(net, dotted), embedded(net, dark), atol=1e-3, rtol=0)


def test_a_picture_that_shows_everything_has_plain_deviations(net):
    image = torch.from_numpy(picture())[None]
    with torch.inference_mode():
        maps, found = net.normalise(image), []
        for name, stage in net.features.trunk.named_children():
            maps = stage(maps)
            if name in ("stage2", "stage3"):
                found.append(torch.log(maps.std(dim=(2, 3)) + 0.02))
        torch.testing.assert_close(net.embed(image), torch.cat(found, dim=1))


@pytest.mark.parametrize("size", [32, 100, 128])
def test_a_wholly_black_chip_has_finite_features(net, size):
    black = np.zeros((3, size, size), np.uint8)
    assert embedded(net, black).isfinite().all()
    assert embedded(net, without_right(picture(size=128), 126)).isfinite().all()


def test_of_two_pictures_only_the_ground_counts_that_both_show():
    pair = network(("post", "pre"))
    post, pre = picture(), picture()
    rough = pre.copy()
    rough[..., -40:] = RNG.integers(1, 255, (3, 128, 40))
    cut = without_right(post, 40)
    one, other = embedded(pair, cut, pre), embedded(pair, cut, rough)
    plain = (embedded(pair, post, rough) - embedded(pair, post, pre)).abs().mean()
    # What lies beyond reaches over the edge by the width of a filter.
    assert (one - other).abs().mean() < 0.2 * plain


def test_black_is_known_by_the_pixel_statistics_of_the_network():
    settings = ModelSettings(architecture=TEXTURE)
    torch.manual_seed(0)
    own = build_network(settings, pixel_mean=(90, 100, 110), pixel_std=(40, 50, 60)).eval()
    normalised = own.normalise(torch.zeros(1, 3, 64, 64))[..., :1, :1]
    torch.testing.assert_close(own.features.black, normalised)
    assert "features.black" not in own.state_dict()


def test_torch_compiles_and_exports_it(net):
    image = torch.from_numpy(np.stack([picture(), without_right(picture(), 40)]))
    with torch.inference_mode():
        plain = net(image)
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(image), plain)
    exported = torch.export.export(net, (image,)).module()
    torch.testing.assert_close(exported(image), plain)


# Renderings


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_unseen_ground_moves_along_and_stays_black(name):
    pixels = without_right(picture(), 40).transpose(1, 2, 0).copy()
    augmentation = build_augmentation(Choice(name=name), 0)
    for _ in range(4):
        for changed in augmentation.pictures((pixels, pixels), pixels):
            black = ~changed.any(axis=2)
            assert 0.08 < black.mean() < 0.6
            # Nothing else is black, and no grey is left of what was.
            np.testing.assert_array_equal(black, unseen_ground(changed))
            assert changed[~black].mean() > 50
