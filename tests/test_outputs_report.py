"""The report is one honest page that works offline, and `summary.json` says the same in numbers."""

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from assessments import make_assessment, make_card
from PIL import Image

import damagenet.outputs.marks as marks_module
from damagenet.assessment import Assessment
from damagenet.outputs.summary import Summary, summarise
from damagenet.outputs.writing import write_outputs

EVIL = '</script><img src="https://evil.example/x.png" onerror="alert(1)">'


class Page(HTMLParser):
    """Text, elements and embedded data of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.attributes = "", [], []
        self._in = ""
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._in = tag

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts.append(data)
        elif self._in != "style":
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._in = ""


def report(assessment: Assessment) -> str:
    write_outputs(assessment, ["html"])
    return (assessment.folder / "report.html").read_text(encoding="utf-8")


def map_data(html: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        re.search(r'id="map-data">(.*?)</script>', html, re.DOTALL)[1]
    )
    return found


def test_the_first_screen_says_that_it_ranks_and_does_not_count(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, card=make_card(false_alarm_rate=0.65))
    text = Page(report(made)).text
    headline = text.index("Ranking only, not a count")
    assert headline < text.index(made.card.sentence) < text.index("flagged damaged")
    assert "no FEMA or EMS-98 grade" in text
    assert "Flooded interiors, water that has receded" in text


def test_a_good_card_gets_no_warning_but_the_sentence(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, card=make_card(false_alarm_rate=0.1))
    text = Page(report(made)).text
    assert "Ranking only" not in text
    assert "Of 100 intact buildings seen after a storm this model flags 10 (5 to 15)" in text


def test_a_non_commercial_licence_is_said(tmp_path: Path) -> None:
    free = Page(report(make_assessment(tmp_path / "a"))).text
    bound = Page(report(make_assessment(tmp_path / "b", card=make_card(non_commercial=True)))).text
    assert "Non-commercial use only." not in free
    assert "Non-commercial use only." in bound
    assert "CC BY-NC-SA 4.0" in bound


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    html = report(make_assessment(tmp_path))
    page = Page(html)
    assert not {"link", "iframe", "object"} & set(page.tags)
    sources = [value for _, name, value in page.attributes if name in ("src", "href")]
    assert sources
    assert all(value.startswith("data:image/jpeg;base64,") for value in sources)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[^\"]*", "", html))
    policy = [value for _, name, value in page.attributes if name == "content"]
    assert any(value.startswith("default-src 'none'") for value in policy)


def test_what_the_caller_wrote_cannot_become_markup(tmp_path: Path) -> None:
    made = make_assessment(
        tmp_path,
        kind="building",
        attributes=pd.DataFrame({"<b>owner</b>": [EVIL] * 12}),
        noted=(f"odd name {EVIL}",),
    )
    parts = [part.assign(unit_id=EVIL + part["unit_id"]) for part in made.parts()]
    for path, part in zip(made.part_paths(), parts, strict=True):
        part.to_parquet(path, index=False)
    html = report(made)
    page = Page(html)
    assert EVIL not in html
    assert not any(name == "onerror" for _, name, _ in page.attributes)
    assert page.tags.count("script") == 2
    assert f"odd name {EVIL}" in page.text
    columns = map_data(html)["columns"]
    assert columns["<b>owner</b>"][0] == EVIL
    assert columns["unit_id"][0] == f"{EVIL}u0"


def test_every_unit_is_drawn_where_it_lies(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, shape=(3, 4))
    data = map_data(report(made))
    assert (data["form"], data["width"], data["height"]) == ("units", 512, 384)
    assert len(data["shapes"]) == 12
    ring = np.reshape(data["shapes"][5][0], (-1, 2))  # second row, second column
    assert [*ring.min(axis=0), *ring.max(axis=0)] == [128, 128, 256, 256]
    assert data["columns"]["label"][:4] == [0, 2, 1, 3]  # damaged, undamaged, uncertain, not-judged
    assert data["columns"]["p_damaged"][3] is None
    assert data["columns"]["reason"][3] == "no-imagery"


def test_degrees_become_squares_on_the_ground(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, shape=(2, 2), scene_crs="EPSG:4326")
    # 270,000 "degrees" east: only the picture's shape matters, so give it a scene in Texas.
    data = map_data(report(_in_texas(made)))
    assert data["height"] > data["width"] * 1.1


def _in_texas(made: Assessment) -> Assessment:
    import rasterio

    step = 4.487879e-6
    with rasterio.open(made.scene.path, "r+") as file:
        file.transform = rasterio.Affine(step, 0, -95.6, 0, -step, 29.8)
        transform = tuple(file.transform)[:6]
    return made.model_copy(update={"scene": made.scene.model_copy(update={"transform": transform})})


def test_many_units_are_shown_as_bins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks_module, "MOST_MARKS", 47)
    made = make_assessment(tmp_path, shape=(6, 8))
    html = report(made)
    data = map_data(html)
    assert data["form"] == "bins"
    assert np.sum(data["counts"], axis=0).tolist() == [12, 12, 12, 12]
    assert "the picture shows squares" in html
    monkeypatch.setattr(marks_module, "MOST_MARKS", 48)
    assert map_data(report(made))["form"] == "units"


def test_the_surest_and_the_least_sure_chips_are_shown(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, shape=(8, 8))
    html = report(made)
    truth = pd.concat([pd.DataFrame(part) for part in made.parts()])
    surest = truth[truth["label"] == "damaged"].nlargest(8, "p_damaged")["unit_id"].tolist()
    shown = re.findall(r'alt="Chip of cell (\w+)"', html)
    assert shown[:8] == surest
    doubt = (truth["p_damaged"] - 0.5).abs().nsmallest(8)
    assert shown[16:] == truth.loc[doubt.index, "unit_id"].tolist() or len(shown) == 24
    uri = re.search(r'<img src="data:image/jpeg;base64,([^"]+)" width="128"', html)[1]
    assert Image.open(BytesIO(base64.b64decode(uri))).size == (128, 128)


def test_what_could_not_be_judged_and_warnings_are_listed(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, noted=("no acquisition date: pass --acquired",))
    page = Page(report(made))
    assert "no-imagery" in page.text
    assert "Too few usable pixels" in page.text
    assert "no acquisition date: pass --acquired" in page.text


def test_a_scene_without_crs_has_a_report_too(tmp_path: Path) -> None:
    data = map_data(report(make_assessment(tmp_path, scene_crs=None)))
    assert set(data["columns"]["lon"]) == {None}


def test_nothing_judged_is_no_division_by_zero(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, shape=(1, 4))
    (part,) = made.parts()
    part = part.assign(label="not-judged", reason="no-imagery", p_damaged=np.nan, p_min=np.nan)
    part.to_parquet(made.part_paths()[0], index=False)
    counts = made.counts.model_copy(
        update={"damaged": 0, "undamaged": 0, "uncertain": 0, "not_judged": {"no-imagery": 4}}
    )
    html = report(made.model_copy(update={"counts": counts}))
    assert "Surest damaged" not in html
    assert json.loads((made.folder / "summary.json").read_text())["shares"]["damaged"] is None


def test_summary_json_says_it_in_numbers(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, card=make_card(non_commercial=True), noted=("mind the gap",))
    paths = write_outputs(made, ["gpkg", "csv", "html"])
    assert paths[-1].name == "summary.json"
    said = json.loads(paths[-1].read_text())
    assert set(said) == set(Summary.model_fields)
    assert said["headline"] == "Ranking only, not a count"
    assert said["sentence"] == made.card.sentence
    assert said["counts"]["damaged"] == 3
    assert said["judged"] == 9
    assert said["shares"] == {"damaged": 0.3333, "undamaged": 0.3333, "uncertain": 0.3333}
    assert said["licences"] == {
        "model": "CC BY-NC-SA 4.0",
        "training_data": "CC BY-NC-SA 4.0",
        "non_commercial": True,
    }
    assert "EMS-98" in said["meanings"]["damaged"]
    assert said["files"] == ["damage.gpkg", "damage.csv", "report.html"]
    assert said["warnings"] == ["mind the gap"]
    assert Summary.model_validate(said) == summarise(made, said["files"])


@pytest.mark.parametrize(
    ("rate", "said"),
    [(0.99, "flags nearly everything"), (0.65, "where to look first"), (None, "Nobody measured")],
)
def test_the_first_screen_says_what_to_do(tmp_path: Path, rate: float | None, said: str) -> None:
    made = make_assessment(tmp_path, card=make_card(false_alarm_rate=rate))
    text = " ".join(Page(report(made)).text.split())
    assert text.index(made.card.sentence) < text.index(said) < text.index("What the words mean")
    assert "Each verdict is on a window of 56 × 64 m around the" in text
