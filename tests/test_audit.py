"""The audit returns the published counts, and finds what was planted in a made data set."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_tiles import add_tile, jpeg, make_published, open_prepared
from typer.testing import CliRunner

from damagenet.cli.data import app
from damagenet.errors import DataError
from data_prep.audit import Audit, audit_tiles, write_audit
from data_prep.audit_baselines import auroc, colour_statistics


@pytest.fixture
def planted(tmp_path):
    """Return made tiles with two byte copies, an opposite label and two neighbours."""
    published = make_published(tmp_path / "published")
    add_tile(published, "train_another/damage", -95.1, 29.1, jpeg(900))
    add_tile(published, "test/damage", -95.1, 29.1, jpeg(900))
    add_tile(published, "test_another/no_damage", -95.1, 29.1, jpeg(901))
    add_tile(published, "test/no_damage", -95.1, 29.1, jpeg(901))
    add_tile(published, "test_another/damage", -95.1, 29.10005, jpeg(902))  # 6 m north
    add_tile(published, "test_another/damage", -95.1, 29.1002, jpeg(903))  # 22 m north
    add_tile(published, "test_another/damage", -95.1, 29.1005, jpeg(904))  # 56 m north
    return open_prepared(published, tmp_path / "made")


def test_what_was_planted_is_counted(planted):
    audit = audit_tiles(planted)
    assert (audit.tiles, audit.distinct_tiles) == (39, 37)
    assert (audit.undamaged_coordinates, audit.also_damaged_coordinates) == (17, 1)
    damaged, undamaged = audit.byte_copies
    assert (damaged.label, damaged.tiles, damaged.in_train, damaged.in_none) == (1, 5, 1, 4)
    assert (undamaged.label, undamaged.in_test_another, undamaged.in_none) == (0, 1, 4)
    opposite = {(pair.first, pair.first_label): pair for pair in audit.opposite_labels}
    assert opposite["test_another", 0].shared_coordinates == 1
    assert sum(pair.shared_coordinates for pair in audit.opposite_labels) == 1
    near = {(row.split, row.label): row for row in audit.shared_ground}["test_another", 1]
    assert (near.tiles, near.within_10_m, near.within_32_m, near.overlapping) == (7, 1, 2, 3)
    other = {(row.split, row.label): row for row in audit.shared_ground}["test_another", 0]
    assert (other.overlapping, other.overlapping_any_class) == (0, 1)
    regions = {row.name: (row.undamaged, row.damaged) for row in audit.regions}
    assert regions["victoria"] == (8, 8)
    assert regions["houston-east"] == (1, 4)
    assert regions["beaumont"] == (0, 0)
    assert [(row.name, row.undamaged) for row in audit.acquisitions] == [("", 17)]


def test_the_audit_is_written_as_json_and_printed_as_tables_or_json(planted):
    runner = CliRunner()
    tables = runner.invoke(app, ["audit", str(planted.folder)])
    assert tables.exit_code == 0, tables.output
    assert "Opposite labels at one coordinate" in tables.stdout
    assert "houston-east" in tables.stdout
    assert "The ridge of 3 was chosen, with seed 0, so that" in tables.stdout
    written = json.loads((planted.folder / "audit.json").read_text())
    printed = runner.invoke(app, ["audit", str(planted.folder), "--json"])
    assert json.loads(printed.stdout) == written
    assert Audit.model_validate(written) == audit_tiles(planted)


def test_a_baseline_without_a_class_is_refused(tmp_path, planted):
    planted.manifest.loc[planted.manifest["published_split"] == "train_another", "label"] = 1
    with pytest.raises(DataError, match="train_another lacks a class: prepare the whole"):
        audit_tiles(planted)


def test_an_audit_that_cannot_be_written_says_so(tmp_path, planted):
    audit = audit_tiles(planted)
    shutil.rmtree(planted.folder)
    with pytest.raises(OSError, match=r"cannot write .*audit.json"):
        write_audit(audit, planted.folder)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30).filter(
        lambda rows: 0 < sum(label for _, label in rows) < len(rows)
    )
)
def test_auroc_is_the_share_of_pairs_in_order(rows):
    scores, labels = np.array(rows).T
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in scores[labels == 1]
        for low in scores[labels == 0]
    ]
    assert auroc(scores, labels) == pytest.approx(np.mean(pairs))


@given(st.integers(0, 2**32 - 1))
def test_colour_statistics_are_those_of_the_pixels(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    found = colour_statistics(pixels).reshape(5, 3)
    values = pixels.reshape(-1, 3)
    np.testing.assert_allclose(found[0], values.mean(axis=0))
    np.testing.assert_allclose(found[1], values.std(axis=0))
    expected = np.percentile(values, (5, 50, 95), axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(found[2:], expected)


def test_the_real_audit_returns_the_published_counts(real_audit):
    copies = {row.label: row for row in real_audit.byte_copies}
    assert [
        (row.in_train, row.in_validation, row.in_test_another, row.in_none)
        for row in (copies[1], copies[0])
    ] == [(373, 77, 529, 21), (706, 123, 135, 36)]
    pairs = [pair.shared_coordinates for pair in real_audit.opposite_labels]
    assert pairs == [1742, 2763, 531, 315, 344, 368]
    near = {(row.split.split("_")[0], row.label): row for row in real_audit.shared_ground}
    assert near["test", 1].overlapping == 5878
    assert [row.within_32_m for row in real_audit.shared_ground] == [3485, 680, 434, 685]
    assert (near["test", 1].within_10_m, near["test", 0].within_10_m) == (361, 92)
    assert (real_audit.undamaged_coordinates, real_audit.also_damaged_coordinates) == (7036, 6834)
    assert {row.name: (row.undamaged, row.damaged) for row in real_audit.regions} == {
        "victoria": (709, 1574),
        "houston-south": (731, 744),
        "houston-west": (4044, 7483),
        "houston-east": (1549, 2516),
        "beaumont": (0, 1700),
    }


def test_the_real_baselines_are_within_a_hundredth_of_the_published_ones(real_audit):
    validation, test = real_audit.baselines.colour
    found = [(row.auroc, row.recall_damaged, row.recall_undamaged) for row in (validation, test)]
    expected = [(0.944, 0.889, 0.887), (0.936, 0.905, 0.873)]
    np.testing.assert_allclose(found, expected, atol=0.01)
    size = real_audit.baselines.file_size
    assert size.auroc == pytest.approx(0.84, abs=0.005)
    assert (round(size.mean_bytes_damaged), round(size.mean_bytes_undamaged)) == (2512, 3013)
    assert real_audit.baselines.always_damaged_accuracy == pytest.approx(8 / 9)


@pytest.fixture(scope="session")
def real_audit(real_tiles):
    return audit_tiles(real_tiles)
