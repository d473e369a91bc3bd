"""Two worker processes give what one process gives."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, LocalCluster

from napari_connecto.compute import cluster
from napari_connecto.compute.cluster import connect
from napari_connecto.compute.execute import ExecuteOptions, execute
from napari_connecto.compute.options import Meter
from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.model import Scaling
from napari_connecto.core.tiles import TilePlan
from napari_connecto.models.files import new_model
from tests.compute.parts import Chunked, Identity, Touch, level_of, mean_of, noise
from tests.models.cards import SCORER_3D


def test_no_scheduler_and_no_workers_is_no_client() -> None:
    with connect() as client:
        assert client is None


def test_schedulers_that_do_not_answer_are_refused() -> None:
    with pytest.raises(InputError, match="give one of them"), connect("tcp://a:1", 2):
        pass
    with pytest.raises(InputError, match="cannot reach a Dask scheduler at 'nonsense://"), connect("nonsense://a:1"):
        pass


def test_a_port_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's own client waits for ever."""
    monkeypatch.setattr(cluster, "CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match=r"cannot reach a Dask scheduler at .*timed out; check"), connect(address):
            pass


@pytest.fixture(scope="module")
def client() -> Iterator[object]:
    with connect(workers=2) as client:
        yield client


@pytest.mark.slow
def test_an_identity_returns_the_volume(client) -> None:
    array, model, meter = Chunked(noise((24, 40, 40)), (8, 8, 8)), Identity((8, 16, 16), (2, 4, 4)), Meter()
    level = level_of(array)
    out = np.full(level.shape, np.nan, np.float32)
    plan = TilePlan(level.shape, model.card.tile, model.card.halo)
    for tile, blocks in execute(level, plan, model, options=ExecuteOptions(meter=meter), client=client):
        out[tile.write.slices] = blocks["value"]
    np.testing.assert_array_equal(out, array.data)
    assert meter.tiles == len(plan)
    assert meter.chunks_read <= 2 * 75, "each worker decodes a chunk at most once"


@pytest.mark.slow
def test_a_client_that_is_not_the_default_one_serves() -> None:
    local = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0")
    level, model = level_of(noise((8, 16, 16))), Identity((8, 8, 8))
    with local, Client(local, set_as_default=False) as own:
        found = list(execute(level, TilePlan(level.shape, (8, 8, 8)), model, client=own))
    for tile, blocks in found:
        np.testing.assert_array_equal(blocks["value"], level.array[tile.write.slices])
    assert len(found) == 4


@pytest.mark.slow
def test_bits_are_those_of_a_local_run(client) -> None:
    model, level = new_model(SCORER_3D, 0, device="cpu"), level_of(noise((24, 48, 48)))
    plan = TilePlan(level.shape, model.card.tile, model.card.halo)
    order = np.random.default_rng(1).permutation(len(plan))
    options = ExecuteOptions(scaling=Scaling(0.0, 255.0), batch=4)
    there = list(execute(level, plan.tiles(order), model, options=options, client=client))
    here = {t.index: b for t, b in execute(level, plan, model, options=options)}
    assert [tile.index for tile, _ in there] == order.tolist()
    for tile, blocks in there:
        np.testing.assert_array_equal(blocks["object"], here[tile.index]["object"])


@pytest.mark.slow
def test_a_damaged_chunk_is_named(client) -> None:
    level = level_of(Chunked(noise((8, 16, 16)), (8, 8, 8), broken=[(0, 1, 1)]))
    with pytest.raises(ChunkError, match=r"chunk \(0, 1, 1\) is damaged"):
        list(execute(level, TilePlan((8, 16, 16), (8, 8, 8)), Identity((8, 8, 8)), mean_of, client=client))


@pytest.mark.slow
def test_what_cannot_be_sent_is_said(client) -> None:
    model = Identity((8, 8, 8))
    model.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"cannot be sent to workers .*open it from a path, or run locally"):
        list(execute(level_of(noise((8, 8, 8))), TilePlan((8, 8, 8), (8, 8, 8)), model, client=client))


class Slow(Identity):
    """Picklable, and slow enough to be stopped."""

    def __call__(self, batch, seeds):
        time.sleep(0.25)
        return super().__call__(batch, seeds)


@pytest.mark.slow
def test_closing_stops_the_workers(client, tmp_path: Path) -> None:
    plan = TilePlan((8, 8, 8 * 200), (8, 8, 8))
    options = ExecuteOptions(batch=1, tiles_per_task=16)
    results = execute(
        level_of(noise(plan.shape)), plan, Slow((8, 8, 8)), Touch(tmp_path), options=options, client=client
    )
    first = threading.Thread(target=lambda: next(results, None), daemon=True)
    first.start()
    while not list(tmp_path.iterdir()):
        time.sleep(0.05)
    first.join()
    results.close()
    time.sleep(1.5)
    marks = len(list(tmp_path.iterdir()))
    time.sleep(1.0)
    assert len(list(tmp_path.iterdir())) == marks < 60


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 1])
def test_a_killed_worker_costs_only_its_unfinished_tiles(tmp_path: Path, workers: int) -> None:
    """With one worker what all tasks share is lost too, and sent again."""
    plan = TilePlan((8, 8, 8 * 60), (8, 8, 8))
    level, model = level_of(noise(plan.shape)), Identity((8, 8, 8))
    options = ExecuteOptions(batch=1, tiles_per_task=3)
    with connect(workers=workers) as own:
        got = list(execute(level, plan, model, Touch(tmp_path, fatal=31), options=options, client=own))
    assert [tile.index for tile, _ in got] == list(range(60))
    assert (tmp_path / "killed").exists()
    runs = {i: len((tmp_path / f"tile_{i}").read_text()) for i in range(60)}
    again = sum(count - 1 for count in runs.values())
    assert min(runs.values()) == 1
    assert again <= 4 * 3, "at most the tasks which that worker held are run again"


@pytest.mark.slow
def test_a_tile_that_kills_every_worker_is_said(tmp_path: Path) -> None:
    from napari_connecto.core.errors import ConnectoError

    class Deadly(Touch):
        def __call__(self, tile, blocks):
            import os

            os._exit(1)

    with connect(workers=1) as own, pytest.raises(ConnectoError, match=r"tiles 0 to 1|lost the workers of a task"):
        list(
            execute(
                level_of(noise((8, 8, 16))),
                TilePlan((8, 8, 16), (8, 8, 8)),
                Identity((8, 8, 8)),
                Deadly(tmp_path),
                client=own,
            )
        )
