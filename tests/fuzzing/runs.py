"""Targets: recipes, sessions, journals, tables and labels."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume_job
from napari_connecto.models.files import new_model, save_model
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion
from napari_connecto.workflows.adapt.fine_tune import fine_tune_job
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.recipes.entries.run import Run
from napari_connecto.workflows.recipes.recipe import read_run, run_job
from napari_connecto.workflows.shared.em_labels import to_em
from tests.fuzzing.files import line, summed
from tests.fuzzing.mutate import TEXTS, bytes_faults, json_text, mutated, odd, text_faults
from tests.fuzzing.target import Target
from tests.fuzzing.volumes import image
from tests.models.cards import UNET_2D


def begin(run: Run) -> None:
    """Start a run, and stop it at its first sign of life."""
    with closing(run_job(run)) as job:
        next(job, None)


def recipes(folder: Path) -> Target:
    """A broken recipe of any workflow; what is accepted is begun."""
    volume, model = folder / "image.ome.zarr", folder / "model"
    run(save_volume_job(image(), volume, levels=2))
    save_model(new_model(UNET_2D, 0, device="cpu"), model)
    spec = {"path": str(volume), "voxel_nm": [40.0, 8.0, 8.0]}
    plain = {"volume": spec, "out": "out"}
    documents: list[dict[str, Any]] = [
        {"workflow": "detect", **plain, "cascade": "cells", "params": {"audit": 3}, "region": [0, 0, 0, 8, 8, 8]},
        {"workflow": "train-cascade", **plain, "labels": spec, "params": {"steps": 10, "levels": 1}},
        {"workflow": "segment", **plain, "params": {"boundary_threshold": 0.3}, "region": [0, 0, 0, 8, 8, 8]},
        {"workflow": "predict", **plain, "model": str(model), "backend": "torch"},
        {"workflow": "suggest", **plain, "model": str(model), "n": 2, "params": {"size": 16}},
        {"workflow": "fine-tune", **plain, "model": str(model), "session": "session", "params": {"preset": "quick"}},
        {"workflow": "simulate-xray", **plain, "params": {"seed": 1}},
        {"workflow": "pair", **plain, "em": spec, "params": {}},
        {"workflow": "train-translator", **plain, "em": spec, "params": {}, "pairing": {}},
        {"workflow": "adapt-translator", **plain, "em": spec, "translator": "synthetic", "params": {"steps": 2}},
    ]
    cwd = folder / "cwd"

    def feed(text: bytes) -> None:
        shutil.rmtree(cwd, ignore_errors=True)
        cwd.mkdir()
        (folder / "recipe.yaml").write_bytes(text)
        before = Path.cwd()
        os.chdir(cwd)
        try:
            begin(read_run(folder / "recipe.yaml"))
        finally:
            os.chdir(before)

    def make(rng: Random) -> bytes:
        document = rng.choice(documents)
        if rng.randrange(6) == 0:
            return yaml_faults(rng, yaml.safe_dump(document).encode())
        told = mutated(rng, document, keep=("out", "session"))
        text = yaml.dump(told, Dumper=yaml.Dumper).encode("utf-8", "surrogatepass")
        return text.replace(b"s3:", b"s4:").replace(b"http:", b"htp:")  # whoever names an address wants it asked

    return Target("recipes", make, feed)


BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (k + 1, k + 1, b",".join([b"*%c" % k] * 9)) for k in range(97, 106)
)
YAML = [BOMB, b"b: !!python/object/apply:os.system ['false']\n", b"b: !!python/name:os.system\n", b"? [a]\n: 1\n"]


def yaml_faults(rng: Random, text: bytes) -> bytes:
    """`text_faults`, and those that only YAML has."""
    return text_faults(rng, text) if rng.randrange(2) else rng.choice(YAML) + text


def sessions(folder: Path) -> Target:
    """A session whose events, or one of whose documents, are broken; checksums of events are right."""
    volume = open_volume(_saved(folder))
    with Session.open(folder / "whole", volume, UNET_2D_8) as session:
        boxes = [Box((0, 0, 0), (1, 16, 16)), Box((2, 4, 4), (3, 20, 20))]
        session.add([Suggestion(box, 0.5, "median", random=k == 1) for k, box in enumerate(boxes)])
        session.commit(1, np.tile(np.array([1, 2, 2, 2], np.uint32), (1, 16, 4)))
        session.skip(2)
        events = EventLog(session.path / "events.jsonl").events()
    names = ("session.json", "job.json")
    documents = {name: json.loads((folder / "whole" / name).read_text()) for name in names}

    def feed(made: tuple[str, bytes]) -> None:
        shutil.rmtree(folder / "s", ignore_errors=True)
        shutil.copytree(folder / "whole", folder / "s")
        (folder / "s" / made[0]).write_bytes(made[1])
        with Session.open(folder / "s", volume, UNET_2D_8) as session:
            session.counts()
            session.examples()
            if session.patches:
                session.open_patch(1)
            session.undo()

    def make(rng: Random) -> tuple[str, bytes]:
        kind = rng.randrange(6)
        if kind < 2:
            name = rng.choice(names)
            return name, json_text(rng, documents[name])
        if kind == 2:
            return "events.jsonl", b"".join(summed(json_text(rng, events[0])) for _ in range(rng.randrange(4)))
        if kind == 3:
            return "events.jsonl", bytes_faults(rng, b"".join(map(line, events)))
        found = mutated(rng, events)
        return "events.jsonl", b"".join(map(line, found if isinstance(found, list) else [found]))

    return Target("annotation sessions", make, feed)


UNET_2D_8 = UNET_2D.from_json({**json.loads(json.dumps(UNET_2D.to_json())), "voxel_nm": [40.0, 8.0, 8.0]})


def _saved(folder: Path) -> Path:
    run(save_volume_job(image(), folder / "image.ome.zarr", levels=1))
    return folder / "image.ome.zarr"


SHAPES = [(), (0,), (5,), (16, 16), (1, 16, 16), (3, 16, 16), (16, 0), (1, 1), (2, 2, 16, 16), (1, 300, 2)]


TYPES = ("u1", "u4", "i8", "i1", "f4", "f8", "?", "c8", "U3", "M8[s]", "O", ">i2", "f2")


def array_of(rng: Random, shape: tuple[int, ...]) -> np.ndarray:
    """An array of few values, some of them odd, of any type."""
    dtype = np.dtype(rng.choice(TYPES))
    if dtype.kind == "O":
        made = np.empty(shape, object)
        made.fill(odd(rng))
        return made
    raw = [rng.choice((bytes(8), b"\x01" + bytes(7), b"\xff" * 8, rng.randbytes(8))) for _ in range(rng.randint(1, 4))]
    made = b"".join(part * 2 for part in raw)  # of at least one value of 16 bytes
    if dtype.kind == "U":
        return np.full(shape, rng.choice(TEXTS)[:3])
    values = np.frombuffer(made, dtype)
    picks = np.array([rng.randrange(len(values)) for _ in range(int(np.prod(shape)))], int)
    return values[picks].reshape(shape)


def labels(folder: Path) -> Target:
    """Images and labels of any shape and type, as examples to learn from, and as labels of the three kinds."""
    model = new_model(UNET_2D, 0, device="cpu")

    def feed(made: tuple[Any, Any, str]) -> None:
        picture, known, kind = made
        params = FineTuneParams(preset="quick", steps=1, crop=32, batch=1, device="cpu")
        if kind != "em":
            known = to_em(known, kind)  # type: ignore[arg-type]
        with closing(fine_tune_job(model, [(picture, known)], params)) as job:
            next(job, None)

    sound = np.tile(np.array([1, 2, 3, 0], np.uint8), (16, 4))

    def make(rng: Random) -> tuple[Any, Any, str]:
        shapes = [rng.choice([(16, 16), (1, 16, 16), *SHAPES]) for _ in range(2)]
        kind = rng.choice(("em", "em", "instances", "membranes"))
        choice = rng.randrange(4)
        if choice == 0:
            return array_of(rng, shapes[0]), array_of(rng, shapes[1]), kind
        if choice == 1:
            return array_of(rng, shapes[0]), array_of(rng, shapes[0]), kind
        return (array_of(rng, (16, 16)), sound, kind) if choice == 2 else (sound, array_of(rng, (16, 16)), kind)

    return Target("label arrays", make, feed)
