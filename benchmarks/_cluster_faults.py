"""What is done to a cluster in the middle of a run, and what must come of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
from benchmarks._cluster import TILE, Cluster, Keep, Proxy, Slow, freeze, kill, noise

from napari_connecto.compute.cluster import connect
from napari_connecto.compute.execute import ExecuteOptions, execute
from napari_connecto.core.errors import ClusterError
from napari_connecto.core.model import Scaling
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.io.stores.tile_store import TileStore


@dataclass
class Site:
    """A volume, the result of an undisturbed run, and a cluster behind a network that can be cut."""

    level: Level
    model: Slow
    expected: np.ndarray
    cluster: Cluster
    proxy: Proxy
    folder: Path

    def store(self) -> TileStore:
        """Of the run that is disturbed."""
        return TileStore.open(self.folder / "out", self.level, TILE, {"value": np.uint8})


@contextmanager
def site(folder: Path, seconds: float = 0.1) -> Iterator[Site]:
    """Two workers; ``seconds`` for a batch of four tiles."""
    level = noise(folder)
    store = TileStore.open(folder / "undisturbed", level, TILE, {"value": np.uint8})
    for _ in fill(store, level, Slow(0.0)):
        pass
    with Cluster(folder / "cluster") as cluster:
        yield Site(level, Slow(seconds), whole(store), cluster, Proxy(cluster.port), folder)


def fill(store: TileStore, level: Level, model: Slow, client: Any = None) -> Iterator[int]:
    """Run what is missing, as `workflows.shared.filling` does; yields how many tiles are done."""
    plan = TilePlan(level.shape, TILE, model.card.halo)
    todo = store.missing()
    done, options = len(plan) - len(todo), ExecuteOptions(Scaling(0.0, 255.0))
    yield done
    with closing(execute(level, plan.tiles(todo), model, Keep(store), options=options, client=client)) as results:
        for tile, _ in results:
            store.mark(tile.index)
            done += 1
            yield done


def whole(store: TileStore) -> np.ndarray:
    """All voxels of a result."""
    level = store.volume("value").levels[0]
    return level.read(level.box)


FAULTS: dict[str, tuple[Callable[[Site], object], bool]] = {
    "a worker is killed": (lambda s: kill(s.cluster.workers[0]), True),
    "a worker is frozen": (lambda s: freeze(s.cluster.workers[0]), True),
    "the network is cut for two seconds": (lambda s: _cut_for(s, 2.0), True),
    "all workers are killed": (lambda s: [kill(w) for w in s.cluster.workers], False),
    "all workers are frozen": (lambda s: [freeze(w) for w in s.cluster.workers], False),
    "the scheduler is killed": (lambda s: kill(s.cluster.scheduler), False),
    "the scheduler is frozen": (lambda s: freeze(s.cluster.scheduler), False),
    "the network is cut": (lambda s: s.proxy.cut(), False),
    "the network swallows everything": (lambda s: s.proxy.silence(), False),
}
"""What happens, and whether the run goes on by itself."""


@dataclass(frozen=True)
class Outcome:
    """Of one try.

    Parameters
    ----------
    before, kept
        Tiles that were finished when it happened, and when the run was given again (or ended).
    said
        The line that ended the run; "" if it went on.
    seconds
        From the fault to the line, or to the end of the run.
    """

    before: int
    kept: int
    said: str
    seconds: float


def hurt(site: Site, fault: str, at: int) -> Outcome:
    """Run, let ``fault`` happen after ``at`` tiles, run again where that ended it.

    Raises
    ------
    AssertionError
        If a finished tile is lost, the result is another, or no line says what to do.
    """
    shutil.rmtree(site.folder / "out", ignore_errors=True)
    act, goes_on = FAULTS[fault]
    store, said, begun, kept = site.store(), "", 0.0, 0
    try:
        with connect(site.proxy.address) as client:
            client.wait_for_workers(len(site.cluster.workers))
            with closing(fill(store, site.level, site.model, client)) as job:
                for kept in job:
                    if kept >= at and not begun:
                        begun = time.monotonic()
                        act(site)
    except ClusterError as error:
        said = str(error)
    seconds = time.monotonic() - begun
    assert (said == "") == goes_on, f"{fault}: {said or 'the run went on'}"
    assert goes_on or ("finished parts are saved" in said and "\n" not in said), said
    site.proxy.mend()
    site.cluster.heal()
    if said:
        with connect(site.cluster.address) as client:
            client.wait_for_workers(len(site.cluster.workers))
            reports = list(fill(site.store(), site.level, site.model, client))
        kept = reports[0]
    assert kept >= at, f"{fault}: {at} tiles were finished, {kept} were kept"
    np.testing.assert_array_equal(whole(store), site.expected)
    return Outcome(at, kept, said, seconds)


def _cut_for(site: Site, seconds: float) -> None:
    site.proxy.cut()
    Timer(seconds, site.proxy.mend).start()
