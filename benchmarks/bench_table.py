"""Every section of the bench, in the order of the page."""

from bench_result import Bar
from bench_sections import Benchmark


def _shares(bar: float) -> tuple[Bar, ...]:
    """Return the bars of `throughput.py`, which counts the faster way to ask the network."""
    ways = {"forward": "one batch at a time", "forward_side_by_side": "batches side by side"}
    return tuple(
        Bar(
            key=f"median_ratio_to_{key}",
            words=f"from GeoTIFF to GeoPackage and COG, as a share of the network alone, {way}",
            bar=bar,
        )
        for key, way in ways.items()
    )


def _contest(
    name: str, network: str, *, bar: float | None = None, smoke: tuple[str, ...] | None = None
) -> Benchmark:
    """Return the contest with one network, which takes long enough to be a section of its own."""
    others = {"torchgeo": "TorchGeo", "rastervision": "Raster Vision", "loop": "the plain loop"}
    return Benchmark(
        name=name,
        title=f"Against TorchGeo, Raster Vision and a plain loop, {network}",
        words=(
            "A filled scene of 6144 x 6144 px, 2,304 chips of 128 px; the same network and "
            "batches of 16, models loaded; all judge the whole scene in turns. The others' "
            "probabilities agreed with ours within 0.001 on every chip before the clock "
            "started (`largest difference`). Ours goes from the GeoTIFF to a written "
            "GeoPackage and COG; the others only compute probabilities and write nothing."
        ),
        script="contest.py",
        options=(
            *("--networks", network),
            *("--contenders", "{contenders}", "--envs", "{envs}"),
        ),
        smoke=smoke,
        bars=tuple(
            Bar(
                key=f"ratios.{network}.{key}",
                words=f"times as fast as {words}, {network}",
                bar=bar if key == "torchgeo" else None,
            )
            for key, words in others.items()
        ),
    )


BENCHMARKS: dict[str, Benchmark] = {
    each.name: each
    for each in (
        _contest("contest", "compact CNN", bar=2.5, smoke=("--smoke",)),
        _contest("contest-resnet18", "ResNet-18"),
        Benchmark(
            name="compact",
            title="End to end, compact CNN",
            words="The filled scene, forward only and end to end in turns.",
            script="throughput.py",
            options=("--model", "harvey"),
            bars=_shares(0.75),
        ),
        Benchmark(
            name="resnet18",
            title="End to end, ResNet-18",
            words="The same with a ResNet-18 (untrained weights, which cost the same).",
            script="throughput.py",
            options=("--model", "resnet18"),
            bars=_shares(0.95),
        ),
        Benchmark(
            name="buildings",
            title="Buildings, ResNet-18",
            words="1,720 points on the large Houston scene.",
            script="throughput.py",
            options=("--model", "resnet18", "--buildings"),
            bars=_shares(0.80),
        ),
        Benchmark(
            name="dense",
            title="Dense maps",
            words=(
                "A stride of a quarter chip against the pass without overlap, naively 16 times; "
                "and the difference to every chip by itself."
            ),
            script="dense.py",
            options=(
                *("--source", "{scenes}/houston_large_post.tif"),
                *("--scene", "{scenes}/houston_00_post.tif"),
                *("--model", "harvey", "--model", "harvey-event", "--untrained", "resnet18"),
                *("--runs", "3"),
            ),
            bars=(
                *(
                    Bar(
                        key=f"{name}.costs.ratio_wall",
                        words=f"times the pass without overlap, {name}",
                        bar=2.5,
                        holds="at most",
                    )
                    for name in ("harvey", "harvey-event", "resnet18")
                ),
                *(
                    Bar(
                        key=f"{name}.differences.0.mean",
                        words=f"mean difference to every chip by itself, {name}",
                        bar=0.02,
                        holds="at most",
                    )
                    for name in ("harvey",)  # of the others no map of trained weights is made
                ),
            ),
            repeats="",
        ),
        Benchmark(
            name="runtimes",
            title="Runtimes on the CPU",
            words=(
                "PyTorch, ONNX Runtime and its int8, bfloat16 and PyTorch's compiler: `starts` is "
                "what comes before the first chip, `pays from` the chips from which on it is ahead "
                "of PyTorch, `moves p` the largest change of a probability."
            ),
            script="runtimes.py",
            tiles=True,
        ),
        Benchmark(
            name="gpu",
            title="On a GPU",
            words="Forward-only bfloat16 against the pipeline from a raster in memory.",
            script="gpu.py",
            bars=(
                Bar(
                    key="share_of_forward_only",
                    words="pipeline as a share of forward-only, ResNet-18 in bfloat16",
                    bar=0.85,
                ),
            ),
        ),
        Benchmark(
            name="memory",
            title="Memory",
            words="Peaks above the imports, by size of the scene and by what it covers.",
            script="memory.py",
            options=("--curve",),
            repeats="",
        ),
        Benchmark(
            name="startup",
            title="Start-up",
            words=(
                "Fresh processes, medians; cold means that the system's cache has forgotten every "
                "file that they load."
            ),
            script="startup.py",
            bars=(
                Bar(
                    key="help.warm_s",
                    words="seconds of damagenet --help",
                    bar=0.4,
                    holds="at most",
                ),
                Bar(
                    key="assess.cold_s",
                    words="seconds of assess on a scene of one chip, cold",
                    bar=5,
                    holds="at most",
                ),
            ),
            repeats="--repeats",
        ),
        Benchmark(
            name="reading",
            title="Reading",
            words=(
                "The filled scene in several compressions: decoding alone, block by block in one "
                "thread, and the hash of the file that every assessment takes; by processor time."
            ),
            script="reading.py",
            smoke=("--smoke",),
        ),
        Benchmark(
            name="limits",
            title="What grows with a run",
            words=(
                "Made records of buildings, 512 a part, in scenes of 10,000: merging and writing "
                "them as `DIR/damage.*`, the report page of one scene, and `run.json` by number "
                "of scenes."
            ),
            script="limits.py",
            smoke=("--smoke",),
            repeats="",
        ),
    )
}
