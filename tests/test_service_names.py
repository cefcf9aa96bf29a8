"""Names that callers give to files become file names and stand on pages."""

import pytest

from api.names import clean_name


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("scene.tif", "scene.tif"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Scene 1.TIF", "Scene 1.TIF"),
        ("/etc/cron.d/job", "job"),
        ("<img src=x onerror=alert(1)>.tif", "_img src_x onerror_alert(1)_.tif"),
        ("a\x00b\n\u202egpj.tif", "a_b__gpj.tif"),
        ("scène à l'eau.tif", "scène à l_eau.tif"),
        ("飓风.tif", "飓风.tif"),
        ("-rf.tif", "rf.tif"),
        ("..hidden..", "hidden"),
        ("con.tif", "_con.tif"),
        ("LPT1", "_LPT1"),
        ("a;b|c$(d)`e`.gpkg", "a_b_c_(d)_e_.gpkg"),
        ("houses.shp.zip", "houses.shp.zip"),
        ("", "file"),
        ("...", "file"),
        (".tif", "tif"),
    ],
)
def test_names_are_made_harmless_and_otherwise_kept(sent, kept):
    assert clean_name(sent) == kept
    assert clean_name(kept) == kept


@pytest.mark.parametrize("letter", ["a", "é", "飓"])
def test_a_long_name_keeps_its_suffix_and_fits_a_file_system(letter):
    name = clean_name(letter * 300 + ".shp.zip")
    assert name.endswith(f"{letter}.shp.zip")
    assert len(name) <= 100
    assert len(name.encode()) <= 220
