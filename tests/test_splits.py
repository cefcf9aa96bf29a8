"""Splits: what each holds, and that training never shares ground with the test."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damagenet.errors import ConfigError, DataError, LeakError
from data_prep.harvey import HarveyTiles
from data_prep.splits import require_no_leak, spatial_blocks, split_tiles
from data_prep.tile import region_of, world_pixel
from data_prep.tile_ground import shares_ground, touches

NONE = np.zeros((0, 128, 128, 3), np.uint8)
FOLDERS = ("train_another", "validation_another", "test_another", "test")


def tiles_at(rows, folder="."):
    """Return tiles without pixels from (split, label, lon, lat) and perhaps a content name."""
    manifest = pd.DataFrame(
        {
            "path": f"{split}/{label}/{number}.jpeg",
            "sha256": content[0] if content else str(number),
            "label": label,
            "lon": lon,
            "lat": lat,
            "column": int(world_pixel(lon, lat)[0]),
            "row_px": int(world_pixel(lon, lat)[1]),
            "region": region_of(lon, lat),
            "acquisition": "",
            "published_split": split,
        }
        for number, (split, label, lon, lat, *content) in enumerate(rows)
    )
    first = manifest.groupby("sha256")["path"].transform("first")
    manifest["duplicate_of"] = first.where(first != manifest["path"], "")
    return HarveyTiles(folder=folder, manifest=manifest, pixels=NONE)


def scattered(count, seed=0):
    """Return tiles of both classes all over Houston West, Houston East and Victoria."""
    rng = np.random.default_rng(seed)
    corners = np.array([(-97.0, 28.8), (-95.6, 29.75), (-95.2, 29.75)])
    places = corners[rng.integers(0, 3, count)] + rng.uniform(0, 0.04, (count, 2))
    labels, splits = rng.integers(0, 2, count), rng.integers(0, 4, count)
    return tiles_at(
        (FOLDERS[split], int(label), *place)
        for split, label, place in zip(splits, labels, places, strict=True)
    )


def apart(number):
    return -95.6 + 0.001 * number


TRAIN = [("train_another", label, apart(label), 29.8) for label in (0, 1)]


def overlapping_pairs(manifest, some, others):
    left, right = manifest.iloc[some], manifest.iloc[others]
    return [
        (a.path, b.path)
        for a in left.itertuples()
        for b in right.itertuples()
        if abs(a.column - b.column) < 128 and abs(a.row_px - b.row_px) < 128
    ]


def test_the_published_split_is_the_published_folders():
    tiles = scattered(200)
    split = split_tiles(tiles, "published", allow_leak=True)
    folders = tiles.manifest["published_split"]
    for part, folder in zip((split.train, split.validation, split.test), FOLDERS, strict=False):
        assert set(folders.iloc[part]) == {folder}
        assert len(part) == (folders == folder).sum()
    assert (split.name, split.train.dtype) == ("published", np.int64)


def test_a_split_that_leaks_raises_with_the_counts_unless_allowed_by_name():
    tiles = tiles_at(
        [
            *TRAIN,
            ("validation_another", 1, apart(9), 29.8, "1"),  # the bytes of a training tile
            ("test_another", 0, apart(0), 29.80003),  # a few metres away
            ("test_another", 1, apart(5), 29.8),
        ]
    )
    message = (
        "split 'published' leaks: of 3 validation and test tiles 1 are byte copies of a training "
        "tile and 1 share ground with one; take 'deduplicated'"
    )
    with pytest.raises(LeakError, match=message):
        split_tiles(tiles, "published")
    assert len(split_tiles(tiles, "published", allow_leak=True).test) == 2


def test_deduplicated_leaves_out_copies_and_shared_ground_of_any_class():
    tiles = tiles_at(
        [
            *TRAIN,
            ("validation_another", 1, apart(9), 29.8),
            ("test_another", 1, apart(0), 29.8),  # the same house, the other label
            ("test_another", 1, apart(7), 29.8, "1"),  # byte copy that claims another place
            ("test_another", 1, apart(5), 29.8),
            ("test", 1, apart(6), 29.8),
        ]
    )
    split = split_tiles(tiles, "deduplicated")
    assert (split.train.tolist(), split.validation.tolist()) == ([0, 1], [2])
    assert split.test.tolist() == [5]
    assert "0 validation and 2 test tiles that share ground" in split.description
    assert "Test: 0 undamaged, 1 damaged (few: read its scores with care)." in split.description


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(["deduplicated", "region:victoria"]))
def test_training_never_shares_ground_with_validation_or_test(seed, name):
    tiles = scattered(300, seed)
    split = split_tiles(tiles, name, seed=seed)
    judged = np.concatenate([split.validation, split.test])
    assert overlapping_pairs(tiles.manifest, split.train, judged) == []
    assert not set(split.train) & set(judged)
    assert not set(split.validation) & set(split.test)


def test_a_region_split_tests_every_distinct_tile_of_the_region_held_out():
    tiles = scattered(600)
    split = split_tiles(tiles, "region:victoria+houston-east")
    region = tiles.manifest["region"].to_numpy()
    held = np.flatnonzero(np.isin(region, ["victoria", "houston-east"]))
    assert split.test.tolist() == held.tolist()
    assert set(region[split.train]) == set(region[split.validation]) == {"houston-west"}
    share = len(split.validation) / (len(split.validation) + len(split.train))
    assert 0.08 < share < 0.25
    blocks = spatial_blocks(tiles.manifest["lon"], tiles.manifest["lat"])
    assert not set(blocks[split.validation]) & set(blocks[split.train])


def test_a_region_split_repeats_itself_and_its_seed_chooses_the_validation_blocks():
    tiles = scattered(600)
    one, same = (split_tiles(tiles, "region:victoria", seed=3) for _ in range(2))
    other = split_tiles(tiles, "region:victoria", seed=4)
    assert one.validation.tolist() == same.validation.tolist() != other.validation.tolist()
    assert one.test.tolist() == other.test.tolist()


def test_regions_of_one_class_and_byte_copies_do_not_train():
    rows = [("train_another", n % 2, apart(n), 29.8 + 0.01 * (n // 5)) for n in range(40)]
    beaumont = [("train_another", 1, -94.0 + 0.001 * n, 30.1) for n in range(5)]
    victoria = [("test", n, -97.0 + 0.001 * n, 28.8) for n in range(2)]
    copy = [("test", 0, apart(0), 29.8, "0")]
    tiles = tiles_at([*rows, *beaumont, *victoria, *copy])
    split = split_tiles(tiles, "region:victoria")
    known = np.concatenate([split.train, split.validation])
    assert set(known) <= set(range(40))
    assert "Trains on all distinct tiles of houston-west;" in split.description
    assert split.test.tolist() == [45, 46]


def test_an_acquisition_split_leaves_out_what_may_be_of_the_pass_held_out():
    tiles = scattered(600)
    manifest = tiles.manifest
    passes = np.array(["A", "B", "C", ""])[np.arange(600) % 4]
    manifest["acquisition"] = passes
    one_class = (passes == "C") & (manifest["label"] == 1).to_numpy()
    manifest.loc[one_class, "acquisition"] = ""
    split = split_tiles(tiles, "acquisition:A")
    assert split.test.tolist() == np.flatnonzero(passes == "A").tolist()
    assert set(passes[split.train]) == set(passes[split.validation]) == {"B"}
    assert "Trains on all distinct tiles of B; tests on A;" in split.description


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("region:dallas", "unknown region 'dallas'; choose one of: victoria, houston-south"),
        ("region:", "unknown region ''"),
        ("random", r"unknown split 'random'; choose one of: published, deduplicated, region:NAME"),
        ("acquisition:", "unknown split 'acquisition:'; choose one of: published, deduplicated"),
        ("acquisition:1A", "unknown acquisition '1A'; the tiles know: none"),
    ],
)
def test_an_unknown_split_is_refused_with_the_choices(name, message):
    with pytest.raises(ConfigError, match=message):
        split_tiles(scattered(10), name)


def test_excluded_ground_keeps_tiles_out_of_training_and_validation_but_not_the_test():
    tiles = scattered(400)
    box = (-95.6, 29.75, -95.58, 29.77)
    plain = split_tiles(tiles, "deduplicated")
    split = split_tiles(tiles, "deduplicated", exclude_ground=[box])
    lon, lat = tiles.manifest["lon"].to_numpy(), tiles.manifest["lat"].to_numpy()
    half = 0.000287224
    near = (lon > -95.6 - half) & (lon < -95.58 + half) & (lat < 29.77 + half)
    near &= lat > 29.75 - half
    assert near[plain.train].any()
    assert not near[split.train].any()
    assert not near[split.validation].any()
    assert split.test.tolist() == plain.test.tolist()
    assert "tiles on excluded ground are left out" in split.description


def test_a_box_that_is_turned_around_is_refused():
    with pytest.raises(ConfigError, match="takes west, south, east, north, got"):
        split_tiles(scattered(10), "deduplicated", exclude_ground=[(-95.0, 29.0, -96.0, 30.0)])


def test_a_tile_that_reaches_into_a_box_by_its_edge_touches_it():
    manifest = tiles_at([("test", 1, -95.0, 30.0)]).manifest
    assert touches(manifest, [(-94.9998, 29.9, -94.9, 30.1)]).tolist() == [True]
    assert touches(manifest, [(-94.9997, 29.9, -94.9, 30.1)]).tolist() == [False]


def test_limit_takes_half_of_each_class_and_repeats_itself():
    tiles = scattered(600)
    one, same = (split_tiles(tiles, "region:victoria", limit=20, seed=1) for _ in range(2))
    assert tiles.labels[one.train].sum() == 10 == len(one.train) / 2
    assert one.train.tolist() == same.train.tolist()
    assert one.train.tolist() != split_tiles(tiles, "region:victoria", limit=20).train.tolist()
    with pytest.raises(ConfigError, match="limit must be at least 2"):
        split_tiles(tiles, "region:victoria", limit=1)


def test_a_split_without_a_class_to_learn_or_without_a_test_is_refused():
    one_class = tiles_at([TRAIN[0], ("validation_another", 1, apart(5), 29.8)])
    with pytest.raises(DataError, match="leaves 1 undamaged and 0 damaged tiles for training"):
        split_tiles(one_class, "deduplicated")
    no_test = tiles_at([*TRAIN, ("validation_another", 1, apart(5), 29.8)])
    with pytest.raises(DataError, match="leaves 0 undamaged and 0 damaged tiles for test"):
        split_tiles(no_test, "deduplicated")


@given(
    offset=st.tuples(st.integers(-200, 200), st.integers(-200, 200)),
    labels=st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_tiles_share_ground_exactly_when_their_squares_overlap(offset, labels):
    here = pd.DataFrame({"column": [1000], "row_px": [1000], "label": labels[0]})
    there = pd.DataFrame(
        {"column": [1000 + offset[0]], "row_px": [1000 + offset[1]], "label": labels[1]}
    )
    expected = max(abs(offset[0]), abs(offset[1])) < 128
    assert shares_ground(here, there).tolist() == [expected]
    assert shares_ground(here, there.iloc[:0]).tolist() == [False]


def test_require_no_leak_finds_copies_even_far_apart():
    manifest = tiles_at(
        [("train_another", 1, apart(0), 29.8, "a"), ("test", 1, apart(9), 29.8, "a")]
    ).manifest
    with pytest.raises(LeakError, match="1 are byte copies of a training tile and 0 share"):
        require_no_leak(manifest, np.array([True, False]), np.array([False, True]), name="mine")


@given(st.lists(st.tuples(st.floats(-97, -93), st.floats(28, 31)), min_size=1, max_size=20))
def test_blocks_do_not_depend_on_what_else_is_asked(places):
    lon, lat = np.array(places).T
    together = spatial_blocks(lon, lat)
    alone = [spatial_blocks([x], [y])[0] for x, y in places]
    assert together.tolist() == alone
    cells = set(zip(np.floor((lon + 180) / 0.01), np.floor((lat + 90) / 0.01), strict=True))
    assert len(set(together)) == len(cells)


def test_the_real_splits_have_the_known_sizes_and_do_not_leak(real_tiles):
    sizes = {
        "deduplicated": (10000, 273, 1478),
        "region:victoria": (14614, 2207, 2283),
        "region:houston-south+houston-east": (12063, 1565, 5540),
        "acquisition:1040010032211E00": (13912, 1679, 2154),
    }
    for name, expected in sizes.items():
        split = split_tiles(real_tiles, name)
        assert (len(split.train), len(split.validation), len(split.test)) == expected
        train = real_tiles.manifest.iloc[split.train]
        judged = real_tiles.manifest.iloc[np.concatenate([split.validation, split.test])]
        assert not shares_ground(judged, train).any()
        assert not judged["sha256"].isin(train["sha256"]).any()
    with pytest.raises(LeakError, match="0 are byte copies of a training tile and 9249 share"):
        split_tiles(real_tiles, "published")
