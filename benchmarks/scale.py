"""What a million tiles cost besides their computing, and how far more workers help.

``python -m benchmarks.scale [--tiles N] [--only WORDS]`` prints Markdown tables: planning and client memory by the
number of tiles; seconds per tile here and on workers against direct calls; one worker against two; a virtual volume of
1 TB, planned whole and run at random places. Processor seconds are those of client, scheduler and workers together:
beside other load they tell more than the clock.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import psutil
from benchmarks._cluster import Cluster

from napari_connecto.compute.cluster import connect
from napari_connecto.compute.execute import ExecuteOptions, execute
from napari_connecto.core.geometry import Box, Vec3
from napari_connecto.core.model import ModelCard, Output, Predictor
from napari_connecto.core.predict import Blocks, read_tile, run_batch
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level

NM = (8.0, 8.0, 8.0)
SMALL: Vec3 = (4, 4, 4)
TERA: Vec3 = (10_000, 10_000, 10_000)
UNET = ModelCard(
    "3-D", "test", NM, (48, 48, 48), (8, 8, 8), (Output("p"),), network={"kind": "unet", "dims": 3, "width": 8}
)


class Virtual:
    """Voxels that are computed where they are read: no disk has a part in what is measured."""

    dtype = np.dtype("uint8")

    def __init__(self, shape: Vec3) -> None:
        self.shape = shape

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        z, y, x = (np.arange(s.start, s.stop, dtype=np.uint32) for s in index[-3:])
        return ((z[:, None, None] * 7 + y[:, None] * 13 + x * 29) % 251).astype(np.uint8)


class Trivial:
    """The least that a model can do."""

    def __init__(self, tile: Vec3) -> None:
        self.card = ModelCard("trivial", "test", NM, tile, (0, 0, 0), (Output("p"),))

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        return {"p": batch[:, 0]}


def total(tile: Tile, blocks: Blocks) -> float:
    return float(blocks["p"].sum(dtype=np.float64))


def level_of(shape: Vec3) -> Level:
    return Level(Virtual(shape), NM)


def line_of(tiles: int) -> TilePlan:
    """So many tiles of `SMALL`, in a plate."""
    side = int(np.ceil(np.sqrt(tiles)))
    return TilePlan((SMALL[0], SMALL[1] * -(-tiles // side), SMALL[2] * side), SMALL)


def own_rss() -> float:
    """Megabytes of this process now."""
    return psutil.Process().memory_info().rss / 1e6


@contextmanager
def spent(processes: Sequence[psutil.Process] = ()) -> Iterator[dict[str, float]]:
    """Seconds by the clock, and of processors: this process and those."""
    found: dict[str, float] = {}
    every = [psutil.Process(), *processes]
    before, begin = [sum(p.cpu_times()[:2]) for p in every], time.perf_counter()
    yield found
    found["wall"] = time.perf_counter() - begin
    after = [sum(p.cpu_times()[:2]) for p in every]
    found["client"] = after[0] - before[0]
    found["cpu"] = sum(after) - sum(before)


def run(
    plan: TilePlan, model: Predictor, client: Any = None, indices: Sequence[int] | None = None, per_task: int = 8
) -> tuple[float, int]:
    """The sum over all tiles, and how many there were."""
    options = ExecuteOptions(batch=4, tiles_per_task=per_task)
    tiles = iter(plan) if indices is None else plan.tiles(indices)
    results = execute(level_of(plan.shape), tiles, model, total, options=options, client=client)
    found, count = 0.0, 0
    for _, value in results:
        found, count = found + value, count + 1
    return found, count


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[Any, list[psutil.Process]]]:
    """A client, and the processes of scheduler and workers, warmed up."""
    with Cluster(folder / f"cluster{workers}", workers) as made, connect(made.address) as client:
        client.wait_for_workers(workers)
        processes = [psutil.Process(p.pid) for p in (made.scheduler, *made.workers)]
        run(line_of(400), Trivial(SMALL), client)
        yield client, processes


def planning() -> None:
    """A plan is arithmetic: what grows is only the list of the tiles that are asked for."""
    table("tiles", "volume at 64^3", "plan and first tile, us", "list of all, in order, processor ms", "its memory, MB")
    for tiles in (10**3, 10**4, 10**5, 10**6, 4 * 10**6):
        side = round(tiles ** (1 / 3))
        with spent() as took:
            plan = TilePlan((64 * side,) * 3, (64, 64, 64), (8, 8, 8))
            first = plan[0]
        before = own_rss()
        with spent() as listed:
            indices = plan.order(plan.touching([Box((0, 0, 0), plan.shape)]))
        assert first.index == 0
        assert len(indices) == len(plan)
        size = f"{64**3 * len(plan) / 1e9:.3g} GB"
        row(len(plan), size, f"{1e6 * took['wall']:.0f}", f"{1e3 * listed['cpu']:.0f}", f"{own_rss() - before:.0f}")


def overhead(folder: Path, tiles: int) -> None:
    """Per tile of 4^3 voxels: all that is not the model."""
    table("way", "tiles", "tiles per s", "us a tile: clock", "processors", "client alone", "client memory, MB")
    model, few = Trivial(SMALL), min(tiles // 10, 20_000)

    def report(way: str, count: int, took: Mapping[str, float]) -> None:
        each = [f"{1e6 * took[name] / count:.0f}" for name in ("wall", "cpu", "client")]
        row(way, count, f"{count / took['wall']:.0f}", *each, f"{own_rss():.0f}")

    plan = line_of(few)
    level = level_of(plan.shape)
    with spent() as took:
        for tile in plan:
            block = read_tile(level, tile)
            assert block is not None
            for _ in run_batch([tile], [block], model, ExecuteOptions().scaling, 1):
                pass
    report("direct calls", len(plan), took)
    with spent() as took:
        run(plan, model)
    report("this machine", len(plan), took)
    for workers, runs in ((1, ((8, few),)), (2, ((8, few), (64, few), (64, tiles // 10), (64, tiles)))):
        with cluster(folder, workers) as (client, processes):
            for per_task, count in runs:
                plan = line_of(count)
                with spent(processes) as took:
                    _, seen = run(plan, model, client, range(count), per_task)
                assert seen == count
                report(f"{workers} workers, {per_task} tiles a task", count, took)


def scaling(folder: Path) -> None:
    """The same 288 tiles of a small 3-D U-Net by one worker and by two, in turn."""
    from napari_connecto.models.files import new_model  # torch

    table("workers", "clock, s", "processor seconds", "of them client", "tiles per processor second")
    model, plan = new_model(UNET, 0, device="cpu"), TilePlan((384, 288, 288), (48, 48, 48), (8, 8, 8))
    found = {}
    for workers in (1, 2):
        with cluster(folder, workers) as (client, processes):
            run(plan, model, client, range(32 * workers), per_task=1)  # every worker has torch and the model
            with spent(processes) as took:
                found[workers], count = run(plan, model, client, per_task=4)
        seconds = [f"{took[name]:.1f}" for name in ("wall", "cpu", "client")]
        row(workers, *seconds, f"{count / took['cpu']:.2f}")
    assert found[1] == found[2], "the same on any number of workers"


def terabyte(folder: Path, share: float = 1e-4) -> None:
    """10^12 voxels of one byte, planned whole; some of its tiles run."""
    table("1 TB, virtual", "")
    with spent() as took:
        plan = TilePlan(TERA, (64, 64, 64), (8, 8, 8))
        count, last = len(plan), plan[len(plan) - 1]
    assert last.write.stop == TERA
    row("tiles of 64^3", count)
    row("plan, first and last tile", f"{1e6 * took['wall']:.0f} us")
    chosen = np.random.default_rng(0).choice(count, round(share * count), replace=False)
    trivial = Trivial((64, 64, 64))
    with cluster(folder, 2) as (client, processes):
        before = own_rss()
        with spent(processes) as took:
            there = run(plan, trivial, client, chosen)
        seconds = f"{took['wall']:.1f} s, {took['cpu']:.1f} processor s"
        row(f"{share:.2%} at random ({len(chosen)} tiles), trivial model, 2 workers", seconds)
        row("client memory grew by", f"{own_rss() - before:.1f} MB")
    assert there == run(plan, trivial, None, chosen), "the same here"
    row("peak memory of the client", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def table(*titles: str) -> None:
    print("\n| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|", flush=True)


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=10**6)
    parser.add_argument("--only", default="", help="planning, overhead, scaling or terabyte")
    asked = parser.parse_args()
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with tempfile.TemporaryDirectory(prefix="napari-connecto-") as name:
        folder = Path(name)
        parts = {
            "planning": planning,
            "terabyte": lambda: terabyte(folder),
            "scaling": lambda: scaling(folder),
            "overhead": lambda: overhead(folder, asked.tiles),
        }
        for part, measure in parts.items():
            if asked.only in part:
                measure()


if __name__ == "__main__":
    main()
