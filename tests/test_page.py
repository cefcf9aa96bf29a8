"""The page in a real browser, on a real service: from upload to download, labels, keys, links."""

import csv
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import PATIENCE_MS, Tab, require_page, tab
from service import DAMAGENET, LAPTOP, client_of, serve

from api.routes import page
from api.settings import ServiceSettings

SCENE = "hurricane-harvey_{}_post_disaster"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a service with one worker."""
    require_page()
    with serve(LAPTOP, tmp_path_factory.mktemp("page"), lease_s=30) as served:
        yield str(served.client.base_url).rstrip("/")


@pytest.fixture
def browsing(base: str, tmp_path: Path) -> Iterator[Tab]:
    """Yield a tab in which nothing may go wrong."""
    with tab(base, tmp_path) as opened:
        yield opened
        assert opened.caught == []


def assess(browsing: Tab, **files: list[Path]) -> str:
    """Send files as a person does, wait for the map, and return the job's id."""
    browsing.open()
    browsing.page.wait_for_selector(".worth")
    for role, paths in files.items():
        browsing.page.set_input_files(f"#file-{role}", paths)
    browsing.picture(f"{files['image'][0].stem}-1-start")
    browsing.page.click("button.wide")
    browsing.page.wait_for_selector("#stage")
    browsing.picture(f"{files['image'][0].stem}-2-progress")
    browsing.wait_for_map()
    browsing.picture(f"{files['image'][0].stem}-3-result")
    found = re.search(r"job=([0-9a-f]{32})", browsing.page.url)
    assert found
    return found[1]


def rows_of(browsing: Tab, job: str) -> list[dict[str, str]]:
    """Return the table of a job, downloaded by its link on the page."""
    with browsing.page.expect_download() as waiting:
        browsing.page.click('.files a:text-is("damage.csv")')
    path = waiting.value.path()
    assert waiting.value.suggested_filename == "damage.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_scene_becomes_a_map_that_counts_filters_links_and_downloads(browsing, harvey_data):
    scenes = harvey_data / "scenes"
    job = assess(
        browsing,
        image=[scenes / "houston_00_post.tif"],
        buildings=[scenes / "houston_00_buildings.geojson"],
    )
    rows = rows_of(browsing, job)
    model = browsing.page.request.get(f"{browsing.base}/v1/models/harvey-event").json()["card"]
    assert browsing.text("#headline") == model["headline"]
    assert browsing.text(".banner .sentence") == model["sentence"]
    assert "Not calibrated for this event" in browsing.text(".badges")
    assert "Non-commercial use only" in browsing.text(".badges")

    labels = Counter(row["label"] for row in rows)
    own = {name: browsing.count(name) for name in ("damaged", "uncertain", "undamaged")}
    assert own == {name: labels[name] for name in own}

    p = [float(row["p_damaged"]) for row in rows if row["p_damaged"]]
    browsing.page.fill("input.number", "0.8")
    browsing.page.keyboard.press("Tab")
    assert browsing.count("damaged") == sum(one >= 0.8 for one in p) > 0
    assert browsing.count("uncertain") == 0

    # The surest first; a row opens the unit beside its picture.
    surest = max((row for row in rows if row["p_damaged"]), key=lambda row: float(row["p_damaged"]))
    browsing.page.click(".unit-row >> nth=0")
    assert browsing.text("#panel-title") == f"building {surest['unit_id']}"
    browsing.until("document.querySelector('.panel img.chip')?.naturalWidth >= 150", "a chip")
    browsing.page.keyboard.press("ArrowDown")
    browsing.page.wait_for_selector(".unit-row[aria-selected=true][aria-posinset='2']")

    browsing.page.click('button:text-is("What was looked at")')
    for method in ("Where", "Edges"):
        browsing.page.click(f'.looked button:text-is("{method}")')
        browsing.page.wait_for_selector(f'.looked button[aria-pressed=true]:text-is("{method}")')
        browsing.until("document.querySelector('.looked img')?.naturalWidth === 516", "a map")
    assert "Edge evidence only" in browsing.text(".looked figcaption")
    assert "No proof" in browsing.text(".looked figcaption")
    browsing.picture("houston_00_post-3-looked-at")

    # An area without a mouse: what the map shows. Then the link of this very view.
    browsing.page.locator(".maplibregl-ctrl-zoom-in").click()
    browsing.page.wait_for_selector(".map-frame[data-state=drawn]")
    browsing.page.click('button:text-is("This view")')
    browsing.page.uncheck(".tile.undamaged input")
    inside = browsing.text("#legend-title")
    assert "in the area" in inside
    assert not inside.startswith(f"{len(rows)} ")
    shown = {
        name: browsing.text(name)
        for name in ("#legend-title", ".legend", "#list-title", "#panel-title")
    }
    browsing.wait_for_map()
    browsing.picture("houston_00_post-4-area")
    link = browsing.page.url
    browsing.open(link[link.index("#") :])
    browsing.wait_for_map()
    assert {name: browsing.text(name) for name in shown} == shown
    assert browsing.page.input_value("input.number") == "0.800"


def both_scenes(xbd: Path, folder: Path) -> tuple[Path, dict[str, bool]]:
    """Write the buildings of scenes 3 and 11 into one file, and return which are damaged."""
    features = []
    for number in ("00000003", "00000011"):
        text = (xbd / f"{SCENE.format(number)}.geojson").read_text(encoding="utf-8")
        features += json.loads(text)["features"]
    path = folder / "buildings.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    said = [feature["properties"] for feature in features]
    return path, {one["uid"]: one["subtype"] != "no-damage" for one in said}


def wait_for_labels(browsing: Tab, count: int) -> None:
    """Wait until the page counts so many labels."""
    browsing.until(
        "[...document.querySelectorAll('[data-labels]')]"
        f".reduce((sum, one) => sum + Number(one.textContent), 0) === {count}",
        f"{count} labels",
    )


def labels_of(browsing: Tab, job: str) -> list[dict[str, str | None]]:
    """Return the labels that the service keeps."""
    answer = browsing.page.request.get(f"{browsing.base}/v1/assessments/{job}/labels")
    return list(answer.json()["labels"])


def test_two_scenes_are_compared_with_before_labelled_adapted_to_and_assessed_again(
    browsing, harvey_data, tmp_path
):
    xbd = harvey_data / "xbd"
    buildings, damaged = both_scenes(xbd, tmp_path)
    post = [xbd / f"{SCENE.format(number)}.tif" for number in ("00000003", "00000011")]
    before = [path.with_name(path.name.replace("_post_", "_pre_")) for path in post]
    job = assess(browsing, image=post, pre=before, buildings=[buildings])
    total = browsing.text("#legend-title")
    browsing.page.select_option("select >> nth=0", post[0].name)
    browsing.wait_for_map()
    assert browsing.text("#legend-title") != total

    browsing.page.click("text=Compare with before")
    browsing.page.focus(".swipe")
    browsing.page.keyboard.press("ArrowLeft")
    assert browsing.page.get_attribute(".swipe", "aria-valuenow") == "45"
    assert "swipe=0.450" in browsing.page.url
    browsing.page.wait_for_selector(".map.before[data-state=drawn]")
    browsing.picture("xbd-4-swipe")
    browsing.page.click("text=Compare with before")

    browsing.page.select_option("select >> nth=0", "")
    browsing.wait_for_map()
    browsing.page.click("text=Suggest 40 to label")
    browsing.page.wait_for_selector('.mark:text-is("please label")')
    browsing.page.click(".unit-row >> nth=0")
    for done in range(1, 41):
        unit = browsing.page.get_attribute("#panel-title", "title") or ""
        browsing.page.keyboard.press("d" if damaged[unit] else "u")
        wait_for_labels(browsing, done)
    # Suggestions hold few damaged ones; adapting takes both classes in several places.
    answered = {row["unit_id"] for row in labels_of(browsing, job) if row["label"]}
    more = [unit for unit, is_damaged in damaged.items() if is_damaged and unit not in answered]
    for done, unit in enumerate(more, start=41):
        browsing.page.evaluate(f"location.hash = 'job={job}&unit={unit}'")
        browsing.page.wait_for_selector(f"#panel-title[title='{unit}']")
        browsing.page.keyboard.press("d")
        wait_for_labels(browsing, done)
    browsing.wait_for_map()
    browsing.picture("xbd-5-labelled")
    browsing.page.fill("input[name=name]", "two-scenes")
    browsing.page.click("form.adapt button")
    browsing.page.wait_for_selector("#adapted, .trouble[role=alert]", timeout=3 * PATIENCE_MS)
    assert browsing.text("#main h1") == "The model two-scenes is ready"
    browsing.picture("xbd-6-adapted")
    browsing.page.click("text=see what changes")
    browsing.page.wait_for_selector(".flows")
    browsing.wait_for_map()
    assert f"versus={job}" in browsing.page.url
    flows = [int(text) for text in browsing.page.locator(".flows b").all_inner_texts()]
    changed = re.match(r"(\d+) of 262 verdicts differ", browsing.text("#changed"))
    assert changed
    assert sum(flows) == int(changed[1]) > 0
    browsing.page.locator("#changes-title").scroll_into_view_if_needed()
    browsing.picture("xbd-7-changes")


def test_a_phone_in_the_dark_shows_the_same_and_a_refusal_is_a_sentence(base, tmp_path):
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
    with tab(base, tmp_path, **phone) as opened:
        opened.open()
        opened.page.wait_for_selector(".worth")
        opened.picture("phone-1-start")
        broken = tmp_path / "scene.tif"
        broken.write_bytes(b"II*\0 nothing more")
        opened.page.set_input_files("#file-image", broken)
        opened.page.click("button.wide")
        opened.page.wait_for_selector("[role=alert].trouble:not(:empty)")
        assert "scene.tif" in opened.text("[role=alert].trouble")
        opened.open("#jobs")
        opened.page.wait_for_selector("h1")
        opened.picture("phone-2-jobs")
        wide = opened.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390
        assert opened.page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_service_with_keys_asks_for_one_and_then_works(tmp_path):
    require_page()
    folder = tmp_path / "service"
    env = LAPTOP.environment(folder)
    made = subprocess.run(
        [*DAMAGENET, "keys", "add", "anna"], env=env, check=True, capture_output=True, text=True
    )
    with (
        serve(LAPTOP, folder, "--no-worker", require_keys=True) as served,
        tab(str(served.client.base_url).rstrip("/"), tmp_path) as opened,
    ):
        opened.open("#jobs")
        opened.page.fill("input[name=key]", "wrong")
        opened.page.click("button.main")
        opened.page.wait_for_selector("#key-trouble:not(:empty)")
        assert "key" in opened.text("#key-trouble")
        opened.page.fill("input[name=key]", made.stdout.strip())
        opened.page.click("button.main")
        opened.page.wait_for_selector("text=Nothing was assessed yet.")
        assert not opened.page.query_selector_all("input[name=key]")


def test_files_of_the_page_are_kept_by_browsers_as_long_as_their_names_hold(tmp_path, monkeypatch):
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<!doctype html>")
    (dist / "assets" / "index-0a1b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr(page, "DIST", dist)
    with client_of(ServiceSettings(data_dir=tmp_path / "data")) as client:
        index, script = client.get("/ui/"), client.get("/ui/assets/index-0a1b.js")
        assert index.headers["Cache-Control"] == "no-cache"
        assert "immutable" in script.headers["Cache-Control"]
        for answer in (index, script):
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
        assert client.get("/ui", follow_redirects=False).headers["Location"].endswith("ui/")
        for name in ("../secret.txt", "%2e%2e/secret.txt", "assets/../../secret.txt", "none.js"):
            assert client.get(f"/ui/{name}").status_code == 404


def test_a_service_without_a_built_page_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "DIST", tmp_path / "dist")
    with client_of(ServiceSettings(data_dir=tmp_path / "data")) as client:
        answer = client.get("/ui/")
    assert (answer.status_code, "make ui" in answer.text) == (503, True)


def test_the_description_of_the_service_is_readable_without_a_network(browsing):
    browsing.page.goto(f"{browsing.base}/docs")
    browsing.page.wait_for_selector("text=Follow an assessment", timeout=PATIENCE_MS)
    assert browsing.page.url.endswith("/ui/reference.html")
    browsing.picture("reference")
