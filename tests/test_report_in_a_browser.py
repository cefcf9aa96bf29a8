"""The report's scripts in a real browser: verdicts are drawn, and nothing fails on the way."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from assessments import make_assessment

import damagenet.outputs.marks as marks_module
from damagenet.outputs.writing import write_outputs

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

LISTEN = """<script>
window.caught = [];
// Without a screen there is no next frame to wait for.
window.requestAnimationFrame = (draw) => setTimeout(draw, 0);
addEventListener("error", (event) => window.caught.push(event.message));
</script>"""
PROBE = """<script>
// Pixels that change when the least probability goes up to 1 are the marks that were drawn.
const pixels = () => {
  const canvas = document.getElementById("canvas");
  return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
};
setTimeout(() => {
  const before = pixels(), least = document.getElementById("least");
  least.value = 1;
  least.dispatchEvent(new Event("input"));
  setTimeout(() => {
    const after = pixels();
    let changed = 0;
    for (let at = 0; at < before.length; at += 1) changed += before[at] !== after[at];
    const said = `changed=${changed} caught=${window.caught.length} ${window.caught.join(";")}`;
    document.body.dataset.said = said;
  }, 500);
}, 500);
</script>"""


def said_in_browser(report: Path, profile: Path) -> str:
    """Open a copy of the report that tells on itself, and return what it told."""
    page = report.read_text(encoding="utf-8").replace("<head>", f"<head>{LISTEN}", 1)
    copy = report.with_name("probed.html")
    copy.write_text(page.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run "
        f"--virtual-time-budget=8000 --window-size=1200,2400 --user-data-dir={profile} --dump-dom"
    )
    line = [str(CHROMIUM), *flags.split(), copy.as_uri()]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'data-said="([^"]*)"', ran.stdout)
    return found[1] if found else "nothing"


@needs_browser
@pytest.mark.parametrize(
    ("geometry", "most"), [("polygon", 20_000), ("point", 20_000), ("polygon", 3)]
)
def test_the_verdicts_are_drawn_without_an_error(tmp_path, monkeypatch, geometry, most):
    monkeypatch.setattr(marks_module, "MOST_MARKS", most)  # above it, bins
    made = make_assessment(tmp_path / "run", geometry=geometry)
    write_outputs(made, ["html"])
    said = said_in_browser(made.folder / "report.html", tmp_path / "profile")
    changed, caught = (int(text) for text in re.findall(r"=(\d+)", said)[:2])
    assert (changed > 100, caught) == (True, 0), said
