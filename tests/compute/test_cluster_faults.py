"""A fault in the middle of a run: it goes on, or one line says what to do, and the same run ends in the same voxels.

The short version of ``benchmarks/cluster_faults.py``: one try each, and shorter patience.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks._cluster import TILE, Cluster, Slow, noise
from benchmarks._cluster_faults import FAULTS, Site, fill, hurt, site

from napari_connecto.compute import cluster, watch
from napari_connecto.compute.cluster import connect
from napari_connecto.compute.execute import execute
from napari_connecto.core.errors import ClusterError
from napari_connecto.core.predict import Blocks
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.io.stores.tile_store import TileStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("faults"), seconds=0.05) as made:
        yield made


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cluster, watch):
        monkeypatch.setattr(module, "LOOK_S", 1.0)
    monkeypatch.setattr(watch, "SILENT_S", 10.0)
    monkeypatch.setattr(watch, "EMPTY_S", 8.0)
    monkeypatch.setattr(watch, "ANSWER_S", 10.0)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_loses_nothing_that_is_finished(place: Site, fault: str) -> None:
    outcome = hurt(place, fault, 40)
    assert outcome.kept >= 40
    assert (outcome.said == "") == FAULTS[fault][1]


def test_a_worker_without_this_package_is_said(tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text("import sys\nsys.modules['napari_connecto'] = None\n")
    level = noise(tmp_path)
    store = TileStore.open(tmp_path / "out", level, TILE, {"value": "u1"})
    options = ["--preload", str(tmp_path / "block.py")]
    what = r"the Dask worker \(tcp://\S+\) has no napari-connecto, this process has .*pip install \"napari-connecto=="
    said = pytest.raises(ClusterError, match=what)
    with Cluster(tmp_path / "cluster", 1, options) as other, connect(other.address) as client, said:
        list(fill(store, level, Slow(0.0), client))


@pytest.mark.parametrize(
    ("preload", "what"),
    [
        ("import napari_connecto\nnapari_connecto.__version__ = '0.0.1'\n", "napari-connecto 0.0.1"),
        (
            "from distributed.versions import get_versions\n"
            "def dask_setup(worker):\n"
            "    told = get_versions()\n"
            "    told['packages']['distributed'] = '2023.1.0'\n"
            "    worker.handlers['versions'] = lambda **_: told\n",
            "distributed 2023.1.0",
        ),
    ],
)
def test_a_worker_of_another_version_is_named_before_the_first_task(tmp_path: Path, preload: str, what: str) -> None:
    (tmp_path / "other.py").write_text(preload)
    level = noise(tmp_path)
    store = TileStore.open(tmp_path / "out", level, TILE, {"value": "u1"})
    options = ["--preload", str(tmp_path / "other.py")]
    said = pytest.raises(ClusterError, match=rf"has {what}, this process has \S+; install the same there: pip install")
    with Cluster(tmp_path / "cluster", 1, options) as other, connect(other.address) as client, said:
        list(fill(store, level, Slow(0.0), client))
    assert not len(store.done())


def test_only_workers_that_offer_a_gpu_compute_networks(tmp_path: Path) -> None:
    """Tasks ask for the resource "GPU" where it is offered and a network wants it, else for nothing."""
    level = noise(tmp_path, (6, 10))
    with Cluster(tmp_path / "cluster", 1) as mixed, connect(mixed.address) as client:
        mixed.options += ["--resources", "GPU=1"]
        for network, offered in (({}, False), ({"kind": "none"}, False), ({"kind": "none"}, True), ({}, True)):
            if offered and len(mixed.workers) == 1:
                mixed.start_worker()
            client.wait_for_workers(1 + offered)
            model = Slow(0.02)
            model.card = replace(model.card, network=network)
            plan = TilePlan(level.shape, TILE, model.card.halo)
            ran = Counter(process for _, process in execute(level, plan, model, where, client=client))
            assert sum(ran.values()) == 60
            pids = [worker.pid for worker in mixed.workers]
            assert set(ran) == set(pids[1:] if offered and network else pids)


def where(tile: Tile, blocks: Blocks) -> int:
    """Sink: which process computed a tile."""
    return os.getpid()


def test_a_cluster_without_workers_is_said(tmp_path: Path) -> None:
    level = noise(tmp_path)
    store = TileStore.open(tmp_path / "out", level, TILE, {"value": "u1"})
    said = pytest.raises(ClusterError, match=r"can run nothing: it has no workers; start some with `dask worker tcp")
    with Cluster(tmp_path / "cluster", workers=0) as empty, connect(empty.address) as client, said:
        list(fill(store, level, Slow(0.0), client))
