"""How smoothly the service's page moves over 100,000 buildings, in a real browser.

    python benchmarks/page.py --scene SCENE.tif [--buildings 100000] [--runs 3] [--json FILE]

Starts `damagenet serve` with a worker, sends it the scene with that many made houses on it, waits
for the verdicts, and opens the page in headless Chromium (Debian's, by Playwright; the page must be
built: `make ui`). Then, as a person does: the map is dragged near and far, zoomed with the wheel,
the threshold moved, the list scrolled.

Two things are told of each. Frames: the time from one to the next. Without a graphics card Chromium
draws by SwiftShader on the very cores that the page needs, so that they are slower than anywhere
else. And what the page's own thread was busy with in one piece, which a graphics card does not
change: pieces over 50 ms are what a person feels.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas as gpd
import httpx2 as httpx
import numpy as np
import rasterio
import shapely
from playwright.sync_api import Page, sync_playwright
from served import Server, served
from throughput import machine

CHROMIUM = ("--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
HOUSE_M = 12.0
PER_KM2 = 1_500
"""Houses of a suburb; those beyond the scene get no verdict and are drawn all the same."""
STEPS = 60
"""Moves of one gesture, one a frame as far as the browser keeps up."""
STEP_MS = 16
FELT_MS = 50

WATCH = """
window.seen = {frames: [], busy: []};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.seen.busy.push(entry.duration);
}).observe({type: "longtask"});
let last = null;
const frame = (now) => {
  if (last !== null) window.seen.frames.push(now - last);
  last = now;
  requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
"""


def made_houses(scene: Path, folder: Path, count: int) -> Path:
    """Write so many squares, scattered around the middle of the scene, and return the file."""
    with rasterio.open(scene) as file:
        ground = gpd.GeoSeries([shapely.box(*file.bounds)], crs=file.crs)
    utm = ground.estimate_utm_crs()
    middle = ground.to_crs(utm).iloc[0].centroid
    half = math.sqrt(count / PER_KM2) * 500
    x, y = np.random.default_rng(0).uniform(-half, half, (2, count))
    corners = x + middle.x, y + middle.y, x + middle.x + HOUSE_M, y + middle.y + HOUSE_M
    houses = gpd.GeoDataFrame(
        {"id": [f"made-{number}" for number in range(count)]},
        geometry=shapely.box(*corners),
        crs=utm,
    )
    path = folder / "houses.gpkg"
    houses.to_crs(4326).to_file(path)
    return path


def assessed(server: Server, scene: Path, houses: Path, model: str) -> str:
    """Send a scene and wait for its verdicts; return the job's id."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=600) as client:
        with scene.open("rb") as image, houses.open("rb") as buildings:
            answer = client.post(
                "/v1/assessments",
                files={"image": (scene.name, image), "buildings": (houses.name, buildings)},
                data={"model": model, "id_field": "id"},
            )
        answer.raise_for_status()
        job = str(answer.json()["jobID"])
        while (status := client.get(f"/v1/assessments/{job}").json())["status"] != "successful":
            if status["status"] == "failed":
                sys.exit(f"the assessment failed: {status.get('message')}")
            time.sleep(0.5)
    return job


def drag(page: Page) -> None:
    """Pull the map across its middle and back."""
    page.mouse.move(700, 500)
    page.mouse.down()
    for step in range(STEPS):
        page.mouse.move(700 + 5 * (step if step < STEPS / 2 else STEPS - step), 500 - step)
        page.wait_for_timeout(STEP_MS)
    page.mouse.up()


def wheel(page: Page) -> None:
    """Zoom in and out again, at the map's middle."""
    page.mouse.move(700, 500)
    for step in range(STEPS):
        page.mouse.wheel(0, -60 if step < STEPS / 2 else 60)
        page.wait_for_timeout(STEP_MS)


def threshold(page: Page) -> None:
    """Move the threshold from end to end."""
    slider = page.locator('input[type="range"]').first
    slider.focus()
    for _ in range(STEPS):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(STEP_MS)


def scroll(page: Page) -> None:
    """Run down the list of buildings."""
    page.locator(".unit-row").first.hover()
    for _ in range(STEPS):
        page.mouse.wheel(0, 600)
        page.wait_for_timeout(STEP_MS)


def watched(page: Page, name: str, act: Callable[[Page], None]) -> dict[str, object]:
    """Do something and return what was seen meanwhile, once the map is still again."""
    page.evaluate("window.seen.frames.length = 0; window.seen.busy.length = 0")
    began = time.perf_counter()
    act(page)
    took = time.perf_counter() - began
    seen = page.evaluate("({frames: [...seen.frames], busy: [...seen.busy]})")
    page.wait_for_selector(".map-frame[data-state=drawn]")
    frames, busy = seen["frames"], [one for one in seen["busy"] if one > FELT_MS]
    return {
        "what": name,
        "seconds": took,
        "frames": len(frames),
        "frame_ms": statistics.median(frames),
        "frame_p95_ms": float(np.quantile(frames, 0.95)),
        "longest_frame_ms": max(frames),
        "busy_pieces": len(busy),
        "longest_busy_ms": max(busy, default=0.0),
    }


def opened(page: Page, server: Server, job: str) -> dict[str, float]:
    """Open the result; return the seconds until the list and until the whole map are there."""
    page.add_init_script(WATCH)
    began = time.perf_counter()
    page.goto(f"http://127.0.0.1:{server.port}/ui/#job={job}")
    page.wait_for_selector(".unit-row")
    listed = time.perf_counter() - began
    page.wait_for_selector(".map-frame[data-state=drawn]")
    return {"list_s": listed, "map_s": time.perf_counter() - began}


def near(page: Page) -> None:
    """Zoom until walls are drawn."""
    page.mouse.move(700, 500)
    for _ in range(12):
        page.mouse.wheel(0, -200)
        page.wait_for_timeout(100)
    page.wait_for_selector(".map-frame[data-state=drawn]")


def moved(page: Page) -> Iterator[dict[str, object]]:
    """Do all that a person does, and yield what was seen."""
    yield watched(page, "far: drag", drag)
    yield watched(page, "far: threshold", threshold)
    yield watched(page, "list: scroll", scroll)
    yield watched(page, "far to near and back: wheel", wheel)
    near(page)
    yield watched(page, "near: drag", drag)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--buildings", type=int, default=100_000)
    parser.add_argument("--model", default="harvey")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="keep a screenshot here")
    arguments = parser.parse_args()
    found: dict[str, object] = {"machine": machine()}
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        houses = made_houses(arguments.scene, folder, arguments.buildings)
        with served(folder / "data", "cpu", workers=1) as server:
            began = time.perf_counter()
            job = assessed(server, arguments.scene, houses, arguments.model)
            found["assessed_s"] = time.perf_counter() - began
            with sync_playwright() as playwright:
                for number in range(1, arguments.runs + 1):
                    browser = playwright.chromium.launch(
                        executable_path="/usr/bin/chromium", args=list(CHROMIUM)
                    )
                    page = browser.new_page(viewport={"width": 1440, "height": 900})
                    page.set_default_timeout(120_000)
                    found[f"opened_{number}"] = opened(page, server, job)
                    rows += [{"run": number} | row for row in moved(page)]
                    if arguments.picture:
                        page.screenshot(path=arguments.picture)
                    browser.close()
    found["rows"] = rows
    for key, value in found.items():
        if key != "rows":
            print(f"{key}: {value}")
    for row in rows:
        print({key: round(v, 1) if isinstance(v, float) else v for key, v in row.items()})
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
