"""What the engine adds to the forward passes, and what others add: ratios, measured side by side in one process.

Run ``python benchmarks/engine.py`` on a quiet machine; it takes about four minutes and prints a table. Every ratio is
the median over rounds of times taken one after the other within a round.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np
import torch
import zarr

from napari_connecto.compute.cache import touched_bytes
from napari_connecto.compute.execute import ExecuteOptions, Meter, execute
from napari_connecto.compute.lazy import arrays
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import ModelCard, Output, Scaling
from napari_connecto.core.predict import Blocks, read_tile
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.openvino import accelerated
from napari_connecto.models.inference.predictor import TorchPredictor

NM = (8.0, 8.0, 8.0)
SCALING = Scaling(0.0, 255.0)
ROUNDS = 5
CASES: Mapping[str, tuple[ModelCard, Vec3, Vec3]] = {  # card, volume, chunks; read shapes are those of MONAI's windows
    "3-D U-Net, 48 tiles of 64^3": (
        ModelCard(
            "3-D", "test", NM, (48, 48, 48), (8, 8, 8), (Output("p"),), network={"kind": "unet", "dims": 3, "width": 8}
        ),
        (144, 192, 192),
        (64, 64, 64),
    ),
    "2-D U-Net, 32 tiles of 512^2": (
        ModelCard(
            "2-D",
            "test",
            NM,
            (1, 448, 448),
            (0, 32, 32),
            (Output("p"),),
            network={"kind": "unet", "dims": 2, "width": 8},
        ),
        (8, 896, 896),
        (1, 256, 256),
    ),
}

rows: list[tuple[str, str, str]] = []


def note(what: str, value: str, aim: str = "") -> None:
    rows.append((what, value, aim))
    print(f"| {what} | {value} | {aim} |", flush=True)


def take(*runs: Callable[[], object], rounds: int = ROUNDS) -> list[list[float]]:
    """Seconds of every run in every round, taken in turn."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            begin = time.perf_counter()
            run()
            taken.append(time.perf_counter() - begin)
    return times


def work(*runs: Callable[[], object], rounds: int = ROUNDS) -> list[list[float]]:
    """CPU seconds of every run, torch's own threads at one: hardly disturbed by others on the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            begin = time.process_time()
            run()
            taken.append(time.process_time() - begin)
    torch.set_num_threads(threads)
    return times


def ratio(a: list[float], b: list[float]) -> float:
    return median(x / y for x, y in zip(a, b, strict=True))


def stored(shape: Vec3, chunks: Vec3) -> Level:
    """Noise with some structure, zstd-compressed, in memory."""
    array = zarr.create_array({}, shape=shape, chunks=chunks, dtype="u1")
    rng = np.random.default_rng(0)
    array[:] = (rng.random(shape, np.float32) * 64 + 96 * (np.indices(shape).sum(0) // 32 % 2)).astype(np.uint8)
    return Level(array, NM)


def mean(tile: Tile, blocks: Blocks) -> float:
    return float(blocks["p"].mean())


def compare(name: str) -> None:
    """Pipeline, bare loops and MONAI on one model and volume."""
    card, shape, chunks = CASES[name]
    level, model = stored(shape, chunks), new_model(card, 0, device="cpu")
    plan = TilePlan(shape, card.tile, card.halo)
    preloaded = [SCALING(read_tile(level, tile)) for tile in plan]  # type: ignore[arg-type]
    out = np.empty(shape, np.float32)

    def write(tile: Tile, blocks: Blocks) -> None:
        out[tile.write.slices] = blocks["p"]

    def pipeline(batch: int, meter: Meter | None = None, which: object = model) -> Callable[[], None]:
        options = ExecuteOptions(scaling=SCALING, batch=batch, meter=meter)

        def run() -> None:
            for _ in execute(level, plan.tiles(plan.order(np.arange(len(plan)))), which, write, options=options):
                pass

        return run

    def bare(batch: int, which: object = model) -> Callable[[], None]:
        stacks = [np.stack(preloaded[i : i + batch]) for i in range(0, len(plan), batch)]

        def run() -> None:
            with ThreadPoolExecutor(model.calls) as pool:
                list(pool.map(lambda stack: which(stack, [0] * len(stack)), stacks))

        return run

    sizes = (1, 2, 4)
    ours = {b: pipeline(b) for b in sizes}
    bares = {b: bare(b) for b in sizes} | {-b: one_by_one(model, preloaded, b) for b in sizes}
    monai = {b: monai_run(model, level, card, b) for b in (1, 4)}
    best = [_best(group) for group in (ours, {b: r for b, r in bares.items() if b > 0}, monai)]
    plain = _best({b: r for b, r in bares.items() if b < 0})
    fast = accelerated(model)
    quick = _best({b: pipeline(b, which=fast) for b in sizes})
    p, b, m, o, v = take(best[0][1], best[1][1], best[2][1], plain[1], quick[1])
    note(f"{name}: pipeline / the same passes, {model.calls} at once, tiles preloaded", f"{ratio(p, b):.2f}", "<= 1.05")
    note(
        f"{name}: pipeline / eager passes, one by one on all threads, preloaded",
        f"{ratio(p, o):.2f}",
        "<= 1.05",
    )
    note(f"{name}: pipeline / MONAI sliding_window_inference (best batch)", f"{ratio(p, m):.2f}", "<= 1.0")
    note(f"{name}: OpenVINO pipeline / torch pipeline", f"{ratio(v, p):.2f}", "< 1")
    note(f"{name}: largest difference of OpenVINO from torch", f"{_difference(model, fast, preloaded):.0e}", "<= 1e-4")
    note(f"{name}: best batches (pipeline, preloaded, MONAI)", ", ".join(str(x[0]) for x in best))
    p, b, m, v = work(best[0][1], bares[best[0][0]], best[2][1], quick[1])
    note(f"{name}: CPU seconds, pipeline / the same passes, preloaded", f"{ratio(p, b):.2f}", "<= 1.05")
    note(f"{name}: CPU seconds, pipeline / MONAI on one thread", f"{ratio(p, m):.2f}", "<= 1.0")
    note(f"{name}: CPU seconds, OpenVINO pipeline / torch pipeline", f"{ratio(v, p):.2f}", "< 1")
    meter = Meter()
    pipeline(best[0][0], meter)()
    touched = touched_bytes(level, [tile.read for tile in plan])
    note(f"{name}: bytes read / bytes needed", f"{meter.bytes_read / touched:.3f}", "<= 1.1")


def _best(runs: Mapping[int, Callable[[], object]]) -> tuple[int, Callable[[], object]]:
    times = dict(zip(runs, take(*runs.values(), rounds=2), strict=True))  # the first round warms up
    size = min(times, key=lambda b: times[b][-1])
    return abs(size), runs[size]


def _difference(model: TorchPredictor, fast: object, preloaded: list[np.ndarray]) -> float:
    batch = np.stack(preloaded[:2])
    return float(np.abs(model(batch, [0, 0])["p"] - fast(batch, [0, 0])["p"]).max())  # type: ignore[operator]


def one_by_one(model: TorchPredictor, preloaded: list[np.ndarray], batch: int) -> Callable[[], None]:
    """What a loop without an engine does: the network as it is, torch's own threads."""
    stacks = [torch.from_numpy(np.stack(preloaded[i : i + batch])) for i in range(0, len(preloaded), batch)]

    def run() -> None:
        with torch.inference_mode():
            for stack in stacks:
                model.net(stack).sigmoid_()

    return run


def monai_run(model: TorchPredictor, level: Level, card: ModelCard, batch: int) -> Callable[[], None]:
    """The same windows by MONAI, reading included; 2-D section by section."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.inferers import sliding_window_inference
    window = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    overlap = 2 * card.halo[2] / window[2]

    def run() -> None:
        volume = torch.from_numpy(SCALING(level.read(level.box)))[None, None]
        parts = volume.split(1, dim=2) if window[0] == 1 else [volume]
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for part in parts:
                sliding_window_inference(part, window, batch, lambda x: model.net(x).sigmoid(), overlap=overlap)

    return run


class Identity:
    """No model at all: what is left is the engine."""

    calls = 2

    def __init__(self, tile: Vec3, halo: Vec3) -> None:
        self.card = ModelCard("identity", "test", NM, tile, halo, (Output("p"),))

    def __call__(self, batch: np.ndarray, seeds: object) -> dict[str, np.ndarray]:
        return {"p": batch[:, 0]}


def orchestration() -> None:
    from monai.inferers import sliding_window_inference

    level, model = stored((240, 240, 240), (64, 64, 64)), Identity((48, 48, 48), (8, 8, 8))
    plan, out = TilePlan(level.shape, (48, 48, 48), (8, 8, 8)), np.empty(level.shape, np.float32)

    def ours() -> None:
        for tile, blocks in execute(level, plan, model, options=ExecuteOptions(batch=4)):
            out[tile.write.slices] = blocks["p"]

    def monai() -> None:
        volume = torch.from_numpy(level.read(level.box).astype(np.float32))[None, None]
        sliding_window_inference(volume, (64, 64, 64), 4, lambda x: x, overlap=0.25)

    ours(), monai()
    a, b = take(ours, monai, rounds=7)
    note("identity model, 125 tiles of 64^3: pipeline / MONAI", f"{ratio(a, b):.2f}", "<= 0.75")


class Virtual:
    """A volume of any size that is made up when read."""

    dtype, chunks = np.dtype("u1"), (64, 64, 64)

    def __init__(self, shape: Vec3) -> None:
        self.shape, self.decoded = shape, 0

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        shape = [s.stop - s.start for s in index[-3:]]
        self.decoded += 1
        return np.full(shape, index[-1].start % 251, np.uint8)


def memory(side: int) -> None:
    """Run in a process of its own: peak memory above the warm model, on a random sample of a volume."""
    card = CASES["3-D U-Net, 48 tiles of 64^3"][0]
    model = new_model(card, 0, device="cpu")
    level = Level(Virtual((side, side, side)), NM)
    plan = TilePlan(level.shape, card.tile, card.halo)
    warm = np.random.default_rng(0).random((4, 1, 64, 64, 64), np.float32)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: model(warm, [0] * 4), range(4)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chosen = plan.order(np.random.default_rng(0).choice(len(plan), 600, replace=False))
    meter = Meter()
    for _ in execute(level, plan.tiles(chosen), model, mean, options=ExecuteOptions(scaling=SCALING, meter=meter)):
        pass
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    needed = touched_bytes(level, [plan[int(i)].read for i in chosen])
    print(json.dumps({"mib": (after - before) / 1024, "bytes": meter.bytes_read / needed}))


def memories() -> None:
    for side, size in ((1024, "1 GiB"), (4096, "64 GiB")):
        text = subprocess.run([sys.executable, __file__, str(side)], capture_output=True, text=True, check=True).stdout
        found = json.loads(text.strip().splitlines()[-1])
        note(f"peak memory above the model, 600 random tiles of {size}", f"{found['mib']:.0f} MiB", "< 1536 MiB, flat")
        note("the same: bytes read / bytes needed (cache of 512 MiB)", f"{found['bytes']:.3f}", "<= 1.1")


def planning() -> None:
    plan = TilePlan((6400, 6400, 6400), (64, 64, 64), (8, 8, 8))
    level = Level(Virtual(plan.shape), NM)
    begin = time.process_time()
    indices = plan.order(np.arange(len(plan)))
    note("10^6 tiles put into Morton order", f"{time.process_time() - begin:.1f} s", "< 5 s")
    begin = time.process_time()
    count = sum(1 for _ in plan.tiles(indices))
    note(f"{count} tiles made, one by one", f"{time.process_time() - begin:.1f} s", "< 5 s")
    model, volume = Identity((64, 64, 64), (8, 8, 8)), Volume((level,))
    arrays(volume, level, model)["p"][:64, :64, :64].compute(scheduler="sync")
    begin = time.perf_counter()
    arrays(volume, level, model)["p"][:64, :64, :64].compute(scheduler="sync")
    note("lazy array of 10^6 tiles built and one block computed", f"{1e3 * (time.perf_counter() - begin):.0f} ms")


def full_scan() -> None:
    """Chunks decoded in a whole scan larger than the cache; decoding is all that is counted."""
    side = 1280
    for name in ("rows", "Morton"):
        level, meter = Level(Virtual((side, side, side)), NM), Meter()
        plan = TilePlan(level.shape, (64, 64, 64), (8, 8, 8))
        everything = np.arange(len(plan))
        cache = 2**27  # 512 of 8000 chunks
        order = everything if name == "rows" else plan.order(everything)
        options = ExecuteOptions(batch=1, cache_bytes=cache, meter=meter)
        for _ in execute(level, plan.tiles(order), Identity((64, 64, 64), (8, 8, 8)), _nothing, options=options):
            pass
        note(f"full scan, cache of 6 %, {name}: chunk decodes / chunks", f"{meter.chunks_read / 8000:.2f}")


def _nothing(tile: Tile, blocks: Blocks) -> None:
    return None


def main() -> None:
    if len(sys.argv) > 1:
        memory(int(sys.argv[1]))
        return
    begin, load = time.perf_counter(), os.getloadavg()[0]
    print("| what | measured | aim |\n|---|---|---|")
    planning()
    memories()
    orchestration()
    for name in CASES:
        compare(name)
    full_scan()
    loads = f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(f"\n{time.perf_counter() - begin:.0f} s; {loads}; torch {torch.__version__}")


if __name__ == "__main__":
    main()
