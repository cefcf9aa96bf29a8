"""One ground in many encodings gets one answer from the shipped models."""

import pandas as pd
import pytest

from damagenet.engine.batch import assess_scenes
from damagenet.options import AssessOptions

BASELINE = "00_baseline_utm15_rgb8"
LOSSY = "02_jpeg_ycbcr_tiled"
SHALLOW = (
    "01_tiled_lzw_bandinterleave",
    LOSSY,
    "03_bigtiff",
    "04_rgba",
    "05_nodata0",
    "06_internal_mask",
)
DEEP = (
    "07_uint16_x257_rgb",
    "08_uint16_11bit_rgb",
    "09_uint16_4band_bgrn_11bit",
    "10_float32_0_1",
)


@pytest.fixture(scope="module")
def verdicts(harvey_data, tmp_path_factory):
    """The records of every encoding, by name."""
    folder = harvey_data / "edge_rasters" / "encodings"
    return assessed(folder, tmp_path_factory.mktemp("encodings"), "harvey")


@pytest.fixture(scope="module")
def verdicts_by_default(harvey_data, tmp_path_factory):
    """The same of the default model, which sees what compression does to smooth water."""
    folder = harvey_data / "edge_rasters" / "encodings"
    return assessed(folder, tmp_path_factory.mktemp("by_default"), "auto")


def assessed(folder, out, model):
    every = [folder / f"{name}.tif" for name in (BASELINE, *SHALLOW, *DEEP)]
    reversed_bands = [path for path in every if path.stem.startswith("09")]
    plain = [path for path in every if path not in reversed_bands]
    assess_scenes(plain, out, AssessOptions(format="csv", model=model))
    assess_scenes(reversed_bands, out, AssessOptions(format="csv", model=model, bands="3,2,1"))
    return {path.stem: pd.read_csv(out / path.stem / "damage.csv") for path in every}


@pytest.mark.parametrize("name", SHALLOW)
def test_8_bit_encodings_agree_in_p_where_both_have_the_ground(verdicts, name):
    first, second = verdicts[BASELINE], verdicts[name]
    both = first["p_damaged"].notna() & (first["valid_fraction"] == second["valid_fraction"])
    assert both.sum() >= 12
    assert (first["p_damaged"] - second["p_damaged"])[both].abs().max() <= 0.03


@pytest.mark.parametrize("name", [*SHALLOW, *DEEP])
def test_every_encoding_gets_the_default_model_s_label(verdicts_by_default, name):
    first, second = verdicts_by_default[BASELINE], verdicts_by_default[name]
    both = first["valid_fraction"] == second["valid_fraction"]
    assert both.sum() >= 12
    alike = (first["label"] == second["label"])[both]
    if name == LOSSY:
        # It looks at what JPEG changes: a verdict may fall into doubt or out of it, but not turn.
        pairs = set(zip(first["label"][both], second["label"][both], strict=True))
        assert not pairs & {("damaged", "undamaged"), ("undamaged", "damaged")}
        assert alike.mean() >= 0.9
        return
    assert alike.mean() >= 0.95
    known = both & first["p_damaged"].notna()
    assert (first["p_damaged"] - second["p_damaged"])[known].abs().max() <= 0.03


@pytest.mark.parametrize("name", DEEP)
def test_deeper_encodings_agree_in_the_label(verdicts, name):
    assert (verdicts[BASELINE]["label"] == verdicts[name]["label"]).mean() >= 0.95
