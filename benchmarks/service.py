"""How fast the service predicts, against the model alone, and what uploads cost it in memory.

    python benchmarks/service.py [--seconds 60] [--rounds 1] [--body npy] [--json FILE]

Starts `damagenet serve` on loopback with an untrained ResNet-18 (the speed is what counts), then:
64 clients at once on /v1/predict with 16 chips a request, before and after it the model alone by
batches side by side; one-chip requests one after the other, in turns with the forward of one chip;
and on a fresh service 8 uploads of 100 MB at once.

Clients and the model alone run in this process, on the same cores as the service. What the clients
use of them is printed; the service would have it otherwise.
"""

import argparse
import asyncio
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import torch
from affine import Affine
from http_load import Load, Part, request_bytes, send, send_file
from PIL import Image
from served import Server, served
from throughput import machine

from damagenet.bundle import load_bundle, read_card
from damagenet.bundle_writing import save_bundle
from damagenet.devices import crew_of
from damagenet.engine.prefetch import prefetched
from damagenet.inference import Predictor
from damagenet.recipe import Choice, ModelSettings
from models.factory import as_built, build_network

CLIENTS = 64
CHIPS = 16
UPLOADS = 8
UPLOAD_BYTES = 100_000_000
RATIO, LONE_MS, GROWTH_MB = 0.70, 15.0, 100.0
OWNER = "local"


def make_resnet18(folder: Path) -> None:
    """Write a bundle of an untrained ResNet-18."""
    card = read_card("harvey")
    model = as_built(ModelSettings(architecture=Choice(name="resnet18")))
    card = card.model_copy(update={"name": folder.name, "model": model, "strangeness": None})
    network = build_network(model, pixel_mean=card.pixel_mean, pixel_std=card.pixel_std)
    manifest = pd.DataFrame({"lon": [-95.0], "lat": [29.0], "label": [1], "sha256": ["0" * 64]})
    save_bundle(folder, card, network.eval(), manifest)


def chip_parts(chips: np.ndarray, body: str) -> list[Part]:
    """Return chips (N, 3, S, S) as the files of a form: one array, or N pictures."""
    stream = io.BytesIO()
    if body == "npy":
        np.save(stream, chips)
        return [Part(name="chips", content=stream.getvalue(), file_name="chips.npy")]
    files = []
    for number, chip in enumerate(chips):
        stream = io.BytesIO()
        Image.fromarray(chip.transpose(1, 2, 0)).save(stream, body, quality=90)
        content = stream.getvalue()
        files.append(Part(name="chips", content=content, file_name=f"{number}.{body}"))
    return files


def model_alone(predictor: Predictor, chips: np.ndarray, seconds: float) -> tuple[float, float]:
    """Return chips per second and per processor second of batches side by side."""
    end, batch = time.perf_counter() + seconds, chips[: predictor.batch_size]

    def batches() -> Iterator[tuple[np.ndarray]]:
        while time.perf_counter() < end:
            yield (batch,)

    wall, used = time.perf_counter(), time.process_time()
    with crew_of(predictor.device) as crew:
        answers = prefetched(
            predictor.probabilities,
            batches(),
            ahead=crew.workers,
            workers=crew.workers,
            prepare=crew.prepare,
        )
        with closing(answers):
            count = sum(len(answer) for answer in answers)
    return count / (time.perf_counter() - wall), count / (time.process_time() - used)


def loaded(server: Server, request: bytes, seconds: float) -> dict[str, object]:
    """Let all clients ask for that long and return what they saw."""
    wall, mine, its = time.perf_counter(), time.process_time(), server.processor_s()
    load: Load = asyncio.run(send(server.port, request, clients=CLIENTS, seconds=seconds))
    wall, mine = time.perf_counter() - wall, time.process_time() - mine
    per_s = load.in_time / seconds
    p50, p99 = (float(wait) for wait in np.quantile(load.waits_s, [0.5, 0.99]))
    return {
        "chips_per_s": per_s * CHIPS,
        "chips_per_processor_s": load.statuses[200] * CHIPS / (server.processor_s() - its),
        "requests_per_s": per_s,
        "p50_s": p50,
        "p99_s": p99,
        "p99_allowed_s": 2 * CLIENTS / per_s,
        "statuses": dict(load.statuses),
        "clients_processor_share": mine / wall,
    }


def against_the_model(
    server: Server, predictor: Predictor, arguments: argparse.Namespace
) -> list[dict[str, object]]:
    """Return a row for each round: all clients, between two measurements of the model alone."""
    chips = np.random.default_rng(0).integers(0, 256, (CHIPS, 3, 128, 128), dtype=np.uint8)
    parts = [*chip_parts(chips, arguments.body), Part(name="model", content=arguments.name)]
    request = request_bytes("/v1/predict", parts)
    asyncio.run(send(server.port, request, clients=4, seconds=2))
    rows, alone = [], [model_alone(predictor, chips, arguments.alone)]
    for number in range(arguments.rounds):
        row = loaded(server, request, arguments.seconds)
        alone.append(model_alone(predictor, chips, arguments.alone))
        model_per_s, model_per_processor_s = np.mean(alone[-2:], axis=0).tolist()
        row |= {
            "model_chips_per_s": model_per_s,
            "ratio": row["chips_per_s"] / model_per_s,
            "processor_ratio": row["chips_per_processor_s"] / model_per_processor_s,
            "p99_ratio": row["p99_s"] / row["p99_allowed_s"],
            "load_average": os.getloadavg()[0],
        }
        rows.append(row)
        print(f"round {number + 1}: {_shown(row)}", file=sys.stderr)
    return rows


def lone(server: Server, predictor: Predictor, arguments: argparse.Namespace) -> dict[str, float]:
    """Return times in ms of one-chip requests and of the forward of one chip, in turns.

    The forward is measured on one thread and on all; the quicker one counts.
    """
    chip = np.random.default_rng(1).integers(0, 256, (1, 3, 128, 128), dtype=np.uint8)
    parts = [*chip_parts(chip, arguments.body), Part(name="model", content=arguments.name)]
    request = request_bytes("/v1/predict", parts)
    threads = torch.get_num_threads()
    times: dict[str, list[float]] = {"request": [], "forward": [], "forward_1_thread": []}
    for _ in range(arguments.lone):
        for name, number in (("forward", threads), ("forward_1_thread", 1)):
            torch.set_num_threads(number)
            started = time.perf_counter()
            predictor.probabilities((chip,))
            times[name].append(1000 * (time.perf_counter() - started))
        load = asyncio.run(send(server.port, request, clients=1, seconds=0))
        times["request"].append(1000 * load.waits_s[0])
    torch.set_num_threads(threads)
    figures = {}
    # Where other programs take the cores, the quickest tenth tells what is due to the service.
    for word, part in (("", 0.5), ("_quickest_tenth", 0.1)):
        at = {name: float(np.quantile(values, part)) for name, values in times.items()}
        at["above"] = at["request"] - min(at["forward"], at["forward_1_thread"])
        figures |= {f"{name}{word}_ms": value for name, value in at.items()}
    return figures


def uploads(server: Server, folder: Path) -> dict[str, object]:
    """Return by how much the memory of the service grew while scenes were sent side by side."""
    side_px = round((UPLOAD_BYTES / 3) ** 0.5)
    scene = folder / "scene.tif"
    profile = {"driver": "GTiff", "width": side_px, "height": side_px, "count": 3}
    place = {"crs": "EPSG:32615", "transform": Affine(0.5, 0, 270_000, 0, -0.5, 3_300_000)}
    with rasterio.open(scene, "w", dtype="uint8", photometric="RGB", **profile, **place) as file:
        file.write(np.random.default_rng(0).integers(1, 255, (3, side_px, side_px), np.uint8))
    parts = [Part(name="image", content=scene, file_name="scene.tif")]

    async def all_at_once() -> list[int]:
        sends = [send_file(server.port, "/v1/assessments", parts) for _ in range(UPLOADS)]
        return await asyncio.gather(*sends)

    idle = server.memory_mb("VmRSS")
    server.forget_peak()
    started = time.perf_counter()
    statuses = asyncio.run(all_at_once())
    return {
        "upload_bytes": scene.stat().st_size,
        "upload_statuses": statuses,
        "upload_s": time.perf_counter() - started,
        "idle_mb": idle,
        "growth_mb": server.memory_mb("VmHWM") - idle,
    }


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Return all figures, and which bars they pass."""
    own = folder / "data" / "models" / OWNER / "resnet18-untrained"
    make_resnet18(own)
    name = arguments.model or own.name
    arguments.name = name.encode()
    predictor = Predictor(load_bundle(arguments.model or own), device=arguments.device)
    with served(folder / "data", arguments.device) as server:
        rows = against_the_model(server, predictor, arguments)
        alone = lone(server, predictor, arguments)
    with served(folder / "data", arguments.device) as server:
        sent = uploads(server, folder)
    bars = {
        f"median ratio at least {RATIO}": statistics.median(r["ratio"] for r in rows) >= RATIO,
        "p99 at most 2 x clients / rate": all(r["p99_s"] <= r["p99_allowed_s"] for r in rows),
        "no answer but 200": all(set(r["statuses"]) == {200} for r in rows),
        f"a lone chip at most {LONE_MS:g} ms above": alone["above_ms"] <= LONE_MS,
        f"memory grows by less than {GROWTH_MB:g} MB": sent["growth_mb"] < GROWTH_MB,
        "uploads accepted": set(sent["upload_statuses"]) == {201},
    }
    return {
        "machine": machine(),
        "model": name,
        "body": arguments.body,
        "clients": CLIENTS,
        "chips_a_request": CHIPS,
        "seconds": arguments.seconds,
        "rounds": rows,
        "lone": alone,
        "uploads": sent,
        "bars": bars,
        "passed": all(bars.values()),
    }


def table(figures: dict[str, object]) -> str:
    """Return the figures as text."""
    lines = [f"{figures['model']}, {figures['clients']} clients, {figures['body']} bodies"]
    lines += [f"  round {n}: {_shown(row)}" for n, row in enumerate(figures["rounds"], 1)]
    lines += [f"  {name}: {_shown(figures[name])}" for name in ("lone", "uploads")]
    lines += [f"  {'yes' if passed else 'NO '} {bar}" for bar, passed in figures["bars"].items()]
    return "\n".join(lines)


def _shown(row: dict[str, object]) -> str:
    texts = ((k, f"{v:.3g}" if isinstance(v, float) else str(v)) for k, v in row.items())
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in texts)


def main() -> None:
    """Measure, print a table, write the JSON, and fail below a bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--alone", type=float, default=15, help="seconds of the model alone")
    parser.add_argument("--lone", type=int, default=100, help="one-chip requests")
    parser.add_argument("--body", choices=("npy", "png", "jpeg"), default="npy")
    parser.add_argument("--model", help="a shipped model instead of the untrained ResNet-18")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments, Path(folder))
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if figures["passed"] else 1)


if __name__ == "__main__":
    main()
