"""The fingerprint of a footprint: of its walls, whatever file they come in."""

import geopandas as gpd
import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity

from damagenet.adapt.footprint_hash import footprint_hashes


def shape_of(seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 8))
    radius = rng.uniform(5, 15, 8)
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return affinity.translate(shapely.Polygon(ring), *rng.uniform(0, 1000, 2))


def hash_of(shape, crs=32615, to=None):
    series = affinity.translate(shape, 270_000, 3_300_000)
    frame = gpd.GeoSeries([series], crs=crs)
    return footprint_hashes(frame if to is None else frame.to_crs(to))[0]


@given(
    seed=st.integers(0, 2**32), start=st.integers(0, 7), crs=st.sampled_from([4326, 3857, 32614])
)
@settings(max_examples=60, deadline=None)
def test_a_fingerprint_does_not_depend_on_how_a_footprint_is_written(seed, start, crs):
    shape = shape_of(seed)
    one = hash_of(shape)
    assert len(one) == 12
    ring = np.array(shape.exterior.coords)[:-1]
    assert hash_of(shapely.Polygon(np.roll(ring, start, axis=0))) == one
    assert hash_of(shapely.Polygon(ring[::-1])) == one
    assert hash_of(shapely.MultiPolygon([shape])) == one
    assert hash_of(shapely.force_3d(shape, 4.0)) == one
    assert hash_of(shape, to=crs) == one


@given(seed=st.integers(0, 2**32), vertex=st.integers(0, 7), angle=st.floats(0, 6.28))
@settings(max_examples=60, deadline=None)
def test_a_vertex_that_moves_by_a_metre_changes_the_fingerprint(seed, vertex, angle):
    shape = shape_of(seed)
    ring = np.array(shape.exterior.coords)[:-1]
    ring[vertex] += (np.cos(angle), np.sin(angle))
    assert hash_of(shapely.Polygon(ring)) != hash_of(shape)


@given(seed=st.integers(0, 2**32), decimals=st.integers(6, 9))
@settings(max_examples=60, deadline=None)
def test_a_fingerprint_survives_another_crs_where_degrees_have_few_decimals(seed, decimals):
    degrees = gpd.GeoSeries([affinity.translate(shape_of(seed), 270_000, 3_300_000)], crs=32615)
    rounded = degrees.to_crs(4326).transform(lambda xy: np.round(xy, decimals))
    there_and_back = rounded.to_crs(32615).to_crs(3857)
    assert footprint_hashes(there_and_back) == footprint_hashes(rounded)


def test_parts_in_another_order_are_one_footprint_and_holes_count():
    one, two = shapely.box(0, 0, 10, 10), shapely.box(20, 0, 30, 10)
    assert hash_of(shapely.MultiPolygon([one, two])) == hash_of(shapely.MultiPolygon([two, one]))
    yard = shapely.Polygon(one.exterior.coords, [shapely.box(3, 3, 6, 6).exterior.coords])
    assert hash_of(yard) != hash_of(one)


def test_a_building_without_a_place_has_no_fingerprint():
    nowhere = gpd.GeoSeries([None, shapely.MultiPolygon()], crs=4326)
    assert footprint_hashes(nowhere) == ["", ""]
