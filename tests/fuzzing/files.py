"""Targets: logs, journals and tables; no network is loaded for them."""

from __future__ import annotations

import importlib.util
import json
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from napari_connecto.core.volume import Level
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.io.stores.journal import Journal
from napari_connecto.io.tables.tables import read_table, write_table
from napari_connecto.workflows.cascade.training.point_formats import Told
from napari_connecto.workflows.cascade.training.points import read_points, write_points
from napari_connecto.workflows.cascade.verdicts import (
    ACCEPTED,
    REJECTED,
    REVIEW,
    Verdicts,
    read_verdicts,
    write_verdicts,
)
from tests.fuzzing.mutate import bytes_faults
from tests.fuzzing.target import Target


def line(event: Any) -> bytes:
    """An event as its log has it."""
    return summed(json.dumps(event).encode())


def summed(body: bytes) -> bytes:
    """A line of a log with its checksum."""
    return b"%08x %s\n" % (zlib.crc32(body), body)


def logs(folder: Path) -> Target:
    """Broken bytes of an event log and of a journal: what is read is a beginning of what was written; both go on."""
    events = [{"event": "suggest", "id": k, "reason": "é" * k} for k in range(5)]
    numbers = np.arange(20)
    Journal(folder / "whole", np.int64).append(numbers)
    log, journal = b"".join(map(line, events)), (folder / "whole").read_bytes()

    def feed(made: tuple[bool, bytes]) -> None:
        (folder / "f").write_bytes(made[1])
        if made[0]:
            first = EventLog(folder / "f").events()
            EventLog(folder / "f").append({"event": "more"})
            assert EventLog(folder / "f").events() == [*first, {"event": "more"}]
        else:
            kept = Journal(folder / "f", np.int64).records().tolist()
            Journal(folder / "f", np.int64).append(77)
            assert Journal(folder / "f", np.int64).records().tolist() == [*kept, 77]

    def make(rng: Random) -> tuple[bool, bytes]:
        is_log = bool(rng.randrange(2))
        return is_log, bytes_faults(rng, log if is_log else journal)

    return Target("event logs and journals", make, feed)


def points(folder: Path) -> Target:
    """Points of other programs as broken XML, GeoJSON, ImageJ regions and CSV."""
    level = Level(np.zeros((8, 9, 10), "u1"), (40.0, 8.0, 8.0))
    centres, told = level.to_nm(np.arange(12.0).reshape(4, 3) % 8), Told(title="a.tif", scores=np.ones(4))
    formats = {"a.xml": "cell-counter", "b.xml": None, "c.geojson": None, "d.csv": "brainglobe", "e.csv": None}
    if importlib.util.find_spec("roifile"):
        formats["f.zip"] = None
    whole = {}
    for name, to in formats.items():
        write_points(folder / name, centres, level, told, to=to)
        whole[name] = (folder / name).read_bytes()

    def feed(made: tuple[str, bytes]) -> None:
        (folder / made[0]).write_bytes(made[1])
        read_points(folder / made[0], level)

    def make(rng: Random) -> tuple[str, bytes]:
        name = rng.choice(sorted(whole))
        return name, bytes_faults(rng, whole[name])

    return Target("points of other programs", make, feed)


def tables(folder: Path) -> Target:
    """Points and detections as broken CSV or Parquet, and reviews."""
    words = np.array(["a", "b", "c", "d"])
    columns = {"z_nm": np.arange(4.0), "y_nm": np.arange(4.0), "x_nm": np.arange(4), "name": words}
    whole = {}
    for name in ("p.csv", "p.parquet"):
        write_table(folder / name, columns, {"made": {"by": [1, 2]}})
        whole[name] = (folder / name).read_bytes()
    places = np.arange(12.0).reshape(4, 3)
    write_verdicts(folder, Verdicts(np.arange(1, 5), places, np.array([ACCEPTED, REJECTED] * 2), 3.0))
    whole[REVIEW] = (folder / REVIEW).read_bytes()

    def feed(made: tuple[str, bytes]) -> None:
        (folder / made[0]).write_bytes(made[1])
        if made[0] == REVIEW:
            read_verdicts(folder).match(places)
        else:
            read_table(folder / made[0])

    def make(rng: Random) -> tuple[str, bytes]:
        name = rng.choice(sorted(whole))
        return name, bytes_faults(rng, whole[name])

    return Target("tables", make, feed)
