"""Augmentation and the dataset: reproducible, checked, and never changing a tile's shape."""

import numpy as np
import pytest
import torch
from published_tiles import make_published, open_prepared
from torch.utils.data import DataLoader

from damagenet.errors import ConfigError, DataError
from damagenet.recipe import Choice
from data_prep.augmentation import build_augmentation
from data_prep.augmentation_steps import AUGMENTATIONS
from data_prep.datasets import TileDataset, tile_tensor

RANDOM = [name for name in AUGMENTATIONS if name != "none"]


@pytest.fixture(scope="module")
def tile():
    ramp = np.arange(128 * 128 * 3, dtype=np.uint32) * 2654435761 >> 24
    return (ramp & 255).astype(np.uint8).reshape(128, 128, 3)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiles")
    return open_prepared(make_published(root / "published"), root / "made")


def changes(name, tile, *, seed, count=8):
    augmentation = build_augmentation(Choice(name=name), seed)
    return np.stack([augmentation(tile, 255 - tile) for _ in range(count)])


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_repeats_the_changes_and_another_seed_does_not(name, tile):
    one, same, other = (changes(name, tile, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert (one != tile).any()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shape_and_type_stay_and_the_tile_itself_is_left_alone(name, tile):
    before = tile.copy()
    made = changes(name, tile, seed=0)
    assert (made.shape, made.dtype) == ((8, 128, 128, 3), np.uint8)
    np.testing.assert_array_equal(tile, before)


def test_none_changes_nothing(tile):
    np.testing.assert_array_equal(changes("none", tile, seed=0), np.stack([tile] * 8))


@pytest.mark.parametrize(("name", "expected"), [("flips", 4), ("d4", 8)])
def test_flips_and_symmetries_give_each_of_their_versions(name, expected, tile):
    flips = {(tile[::a, ::b]).tobytes() for a in (1, -1) for b in (1, -1)}
    turned = np.ascontiguousarray(tile.transpose(1, 0, 2))
    symmetries = flips | {(turned[::a, ::b]).tobytes() for a in (1, -1) for b in (1, -1)}
    found = {made.tobytes() for made in changes(name, tile, seed=0, count=100)}
    assert found == (flips if name == "flips" else symmetries)
    assert len(found) == expected


def test_reseeding_starts_the_sequence_anew(tile):
    augmentation = build_augmentation(Choice(name="colour"), 5)
    first = [augmentation(tile) for _ in range(4)]
    augmentation.reseed(5)
    np.testing.assert_array_equal(first, [augmentation(tile) for _ in range(4)])


def test_colour_ranges_of_zero_leave_the_colours(tile):
    still = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    augmentation = build_augmentation(Choice(name="colour", parameters=still), 0)
    made = augmentation(tile)
    assert sorted(map(tuple, made.reshape(-1, 3))) == sorted(map(tuple, tile.reshape(-1, 3)))


def test_an_unknown_name_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match="unknown augmentation 'mixup'; choose one of: cao_choe,"):
        build_augmentation(Choice(name="mixup"), 0)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(name="d4", parameters={"p": 0.5}), "augmentation d4: unknown setting 'p'"),
        (Choice(name="colour", parameters={"hues": 0.1}), r"'hues' \(did you mean 'hue'\?\)"),
        (Choice(name="colour", parameters={"hue": 0.7}), "hue: input should be less than or equal"),
        (Choice(name="cao_choe", parameters={"zoom": 1.0}), "zoom: input should be less than 1"),
        (Choice(name="strong", parameters={"degrade": "much"}), "degrade: input should be a valid"),
    ],
)
def test_parameters_are_checked(choice, message):
    with pytest.raises(ConfigError, match=message):
        build_augmentation(choice, 0)


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("way", ["histogram", "fourier", "pixels"])
def test_each_way_brings_the_colours_of_the_other_picture(way, light, tile):
    random = np.random.default_rng(0)
    other = (tile // 4 + random.integers(0, 8, tile.shape)).astype(np.uint8)
    other = other + 180 if light else other
    given = {"way": way, "probability": 1.0, "beta": 0.5}
    augmentation = build_augmentation(Choice(name="domain", parameters=given), 0)
    made = np.stack([augmentation(tile, other) for _ in range(16)])
    far, near = abs(tile.mean() - other.mean()), abs(made.mean() - other.mean())
    assert near < 0.7 * far
    # It is still a picture, of a contrast between those of both.
    deviations = made.std(axis=(1, 2, 3))
    assert (0.8 * other.std() < deviations).all()
    assert (deviations < 1.2 * tile.std()).all()


def test_a_domain_augmentation_without_another_tile_or_a_known_way_is_refused(tile):
    with pytest.raises(ConfigError, match="augmentation domain needs a tile of the other class"):
        build_augmentation(Choice(name="domain"), 0)(tile)
    with pytest.raises(ConfigError, match="way: input should be 'any', 'histogram'"):
        build_augmentation(Choice(name="domain", parameters={"way": "hue"}), 0)


def test_a_tile_meets_tiles_of_the_other_class_alone(tiles):
    class Noting:
        name, needs_other = "noting", True

        def __init__(self):
            self.met = []

        def reseed(self, seed):
            pass

        def __call__(self, pixels, other):
            self.met.append(other)
            return pixels

    noting = Noting()
    dataset = TileDataset(tiles, np.arange(len(tiles)), noting, seed=3)
    labels = [int(dataset[number][1]) for number in range(3 * len(tiles))]
    rows = {pixels.tobytes(): row for row, pixels in enumerate(tiles.pixels)}
    met = [tiles.labels[rows[other.tobytes()]] for other in noting.met]
    assert all(one != label for one, label in zip(met, labels, strict=True))
    with pytest.raises(DataError, match="needs tiles of both classes"):
        TileDataset(tiles, np.flatnonzero(tiles.labels == 1), noting)[0]


def test_an_item_is_the_tile_and_its_label(tiles):
    index = np.array([5, 0, 31])
    dataset = TileDataset(tiles, index)
    assert len(dataset) == 3
    for position, row in enumerate(index):
        (image,), label = dataset[position]
        assert (image.dtype, image.shape) == (torch.uint8, (3, 128, 128))
        np.testing.assert_array_equal(image.numpy().transpose(1, 2, 0), tiles.pixels[row])
        assert label == tiles.labels[row]
        assert label.dtype == torch.float32


def test_all_tiles_at_once_are_the_items(tiles):
    index = np.array([9, 3, 4])
    items = torch.stack([image for (image,), _ in TileDataset(tiles, index)])
    assert torch.equal(tile_tensor(tiles, index), items)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([], "no tile to read: the split is empty"),
        ([0, 32], "reaches from 0 to 32, the data set has 32 tiles"),
        ([-1], "reaches from -1 to -1"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(tiles, index, message):
    with pytest.raises(DataError, match=message):
        TileDataset(tiles, np.array(index, np.int64))
    with pytest.raises(DataError, match=message):
        tile_tensor(tiles, np.array(index, np.int64))


def loaded(tiles, *, seed, workers):
    augmentation = build_augmentation(Choice(name="colour"), 0)
    dataset = TileDataset(tiles, np.zeros(8, np.int64), augmentation, seed=seed)
    loader = DataLoader(dataset, batch_size=2, num_workers=workers)
    return torch.cat([image for (image,), _ in loader])


def test_what_an_item_shows_depends_on_seed_and_number_whoever_loads_it(tiles):
    one, same, other = (
        loaded(tiles, seed=1, workers=0),
        *(loaded(tiles, seed=seed, workers=2) for seed in (1, 2)),
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len({image.numpy().tobytes() for image in one}) > 4


def test_items_go_on_behind_the_last_tile(tiles):
    dataset = TileDataset(tiles, np.array([9, 3]))
    for number in (0, 1, 2, 5):
        (image,), label = dataset[number]
        (again,), same = dataset[number % 2]
        assert torch.equal(image, again)
        assert label == same
