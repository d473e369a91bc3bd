"""Laws of what is computed while somebody looks: order, dropping, never twice, the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from napari_connecto.compute.live.job import Asked, Seen, live_job
from napari_connecto.compute.live.mosaic import Picture
from napari_connecto.compute.live.scheduler import Scheduler
from napari_connecto.compute.live.work import Key
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.tiles import TilePlan

PLAN = TilePlan((1, 80, 80), (1, 10, 10))


def view(y: int, x: int, size: int = 30) -> Box:
    return Box((0, y, x), (1, y + size, x + size))


class Squares:
    """A map of 64 tiles that computes when it is let; "fine" tiles are wanted where "coarse" ones are even."""

    def __init__(self, *, threads: int = 1, group: int = 1, fine: bool = False) -> None:
        self.threads, self.fine, self._group = threads, fine, group
        self.pictures: Sequence[Picture] = ()
        self.calls: list[tuple[Key, ...]] = []
        self.there: set[Key] = set()
        self.let = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.derived, self.closed = 0, 0
        self.error: Exception | None = None

    def order(self, box: Box) -> list[Key]:
        indices = PLAN.order(PLAN.touching([box]), box.centre).tolist()
        coarse = [("coarse", i) for i in indices]
        return coarse + [("fine", i) for i in indices if self.fine and i % 2 == 0 and ("coarse", i) in self.there]

    def has(self, key: Key) -> bool:
        return key in self.there

    def group(self, name: str) -> int:
        return self._group

    def compute(self, keys: Sequence[Key]) -> bool:
        self.calls.append(tuple(keys))
        self.entered.release()
        self.let.acquire()
        if self.error is not None:
            raise self.error
        self.there.update(keys)
        return keys[0][0] == "coarse"

    def derive(self, box: Box) -> int:
        self.derived += 1
        return self.derived

    def close(self) -> None:
        self.closed += 1

    @property
    def keys(self) -> list[Key]:
        return [key for call in self.calls for key in call]


def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def test_tiles_come_nearest_to_the_middle_first():
    """Order: exactly the tiles of the view, each once, as the plan orders them from the middle of the view."""
    work = Squares()
    scheduler = Scheduler(work)
    work.let.release(100)
    scheduler.look(view(20, 30))
    until(lambda: scheduler.idle)
    scheduler.close()
    assert work.keys == work.order(view(20, 30))
    assert work.keys[0] == ("coarse", 3 * 8 + 4)
    assert len(work.keys) == 9


def test_tiles_that_left_the_view_are_dropped_but_what_has_begun_is_kept():
    """Dropping: after a move only the tile under way is finished; the rest of the old view is never computed."""
    work = Squares()
    scheduler = Scheduler(work)
    scheduler.look(view(0, 0))
    work.entered.acquire()
    begun = work.keys[0]
    scheduler.look(view(50, 50))
    work.let.release(100)
    until(lambda: scheduler.idle)
    scheduler.close()
    assert set(work.keys) == {begun, *work.order(view(50, 50))}
    assert work.keys[1:] == work.order(view(50, 50))


def test_no_tile_is_computed_twice_however_the_view_moves():
    """Never twice: three threads, a view that moves to and fro and comes back; every tile is computed once."""
    work = Squares(threads=3)
    work.let.release(1000)
    scheduler = Scheduler(work)
    for place in [(0, 0), (10, 0), (20, 10), (0, 0), (45, 45), (5, 5)] * 3:
        scheduler.look(view(*place))
        time.sleep(0.002)
    until(lambda: scheduler.idle)
    before = len(work.keys)
    scheduler.look(view(5, 5))
    until(lambda: scheduler.idle)
    scheduler.close()
    assert len(work.keys) == len(set(work.keys)) == before
    assert set(work.order(view(5, 5))) <= work.there


def test_finer_tiles_follow_from_coarser_ones():
    """What a coarse tile asks for is computed without another move; nothing else is."""
    work = Squares(fine=True, threads=2)
    work.let.release(100)
    scheduler = Scheduler(work)
    scheduler.look(view(0, 0))
    until(lambda: scheduler.idle)
    scheduler.close()
    coarse = {i for name, i in work.keys if name == "coarse"}
    assert {i for name, i in work.keys if name == "fine"} == {i for i in coarse if i % 2 == 0}
    assert len(work.keys) == len(set(work.keys))
    assert scheduler.counts == (len(work.there), len(work.there))


def test_calls_group_tiles_of_one_map_in_order():
    """A call gets up to ``group`` tiles, which follow each other in the order."""
    work = Squares(group=4)
    work.let.release(100)
    scheduler = Scheduler(work)
    scheduler.look(view(0, 0))
    until(lambda: scheduler.idle)
    scheduler.close()
    assert [len(call) for call in work.calls] == [4, 4, 1]
    assert work.keys == work.order(view(0, 0))


def test_closing_ends_all_threads_after_the_tile_under_way():
    """The end: nothing new begins, and no thread is left."""
    work = Squares(threads=2)
    scheduler = Scheduler(work)
    scheduler.look(view(0, 0))
    work.entered.acquire()
    work.entered.acquire()
    closer = threading.Thread(target=scheduler.close)
    closer.start()
    until(lambda: scheduler._closed)
    work.let.release(100)
    closer.join(5)
    assert not closer.is_alive()
    assert not any(thread.is_alive() for thread in scheduler._threads)
    assert len(work.keys) == 2


def test_the_first_error_ends_it_and_reaches_the_caller_once():
    work = Squares(threads=2)
    work.error = InputError("does not fit")
    work.let.release(100)
    asked = Asked()
    asked.look(view(0, 0))
    job = live_job(work, asked)
    with pytest.raises(InputError, match="does not fit"):
        for _ in job:
            pass
    assert work.closed == 1
    assert len(work.calls) <= 2


def test_the_job_shows_what_arrives_and_closing_it_closes_the_work():
    """Reports count the tiles of the view; when all are there, what follows from them has been derived last."""
    work = Squares(threads=2)
    work.let.release(100)
    asked = Asked()
    asked.look(view(0, 0))
    job = live_job(work, asked)
    last = None
    for progress in job:
        last = progress.payload if isinstance(progress.payload, Seen) else last
        if last is not None and last.complete and progress.total and progress.done == progress.total:
            break
    assert (progress.done, progress.total) == (9, 9)
    assert last is not None
    assert last.derived == work.derived
    job.close()
    assert work.closed == 1


def test_a_view_that_is_empty_asks_for_nothing():
    work = Squares()
    scheduler = Scheduler(work)
    scheduler.look(Box((0, 0, 0), (0, 0, 0)))
    until(lambda: scheduler.idle)
    scheduler.close()
    assert work.keys == []
