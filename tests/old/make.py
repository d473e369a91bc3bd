"""Make what a user has lying about, by the commands and docks of the version that runs this.

``xvfb-run -a python -m tests.old.make FOLDER``, from the checkout of that version, with the extra test-gui. README.md
says which one made what is kept here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import napari_connecto as nc
from napari_connecto.models.files import new_model
from tests import tiny
from tests.adapt_parts import tiny_card
from tests.old.home import ANSWERS, HOME, answers, rename, stamp
from tests.translate_dock_parts import pair

QUIET = ("--progress", "none")
NETWORK = {"kind": "unet", "dims": 2, "width": 4, "strides": [[1, 2, 2]], "depth": 2, "half": True}


def command(*words: object) -> None:
    """Run ``napari-connecto`` as a user does."""
    print("napari-connecto", *words, flush=True)
    subprocess.run([sys.executable, "-m", "napari_connecto", *map(str, words), *QUIET], check=True)


def killed(stage: str, done: int, *words: object) -> None:
    """Run ``napari-connecto`` and kill it once ``stage`` has come to ``done``."""
    print("napari-connecto", *words, "(killed)", flush=True)
    process = tiny.start(*map(str, words))
    tiny.wait_for(process, stage, done)
    process.kill()
    process.communicate()


def crop(volume: nc.Volume, stop: tuple[int, int, int]) -> nc.Volume:
    """The corner of a volume."""
    level = volume.levels[0]
    part = replace(level, array=np.asarray(level.read(nc.Box((0, 0, 0), stop))))
    return replace(volume, levels=(part,), source="")


def cascade(home: Path, work: Path) -> None:
    """A cascade that learnt blobs, and other blobs to search."""
    image, truth = tiny.cells(1)
    nc.save_volume(image, work / "cells.ome.zarr", levels=2)
    nc.save_volume(truth, work / "cells_truth.ome.zarr", levels=1)
    nc.save_volume(crop(tiny.cells(2)[0], (8, 96, 96)), home / "cells.ome.zarr", levels=2)
    quick = ("--steps", 60, "--width", 2, "--levels", 2, "--tile", 4, 16, 16, "--device", "cpu", "--name", "cells")
    labels = ("--labels", work / "cells_truth.ome.zarr")
    command("train-cascade", work / "cells.ome.zarr", *labels, "--out", home / "models/cells", *quick)


def translator(home: Path, work: Path) -> None:
    """A translator, and a corner of the X-ray that it learnt from."""
    xray, em = pair(work)
    nc.save_volume(crop(nc.open_volume(xray), (12, 16, 16)), home / "xray.ome.zarr", levels=1)
    quick = ("--members", 2, "--steps", 30, "--width", 2, "--depth", 2, "--crop", 16, "--batch", 2, "--device", "cpu")
    command("train-translator", xray, em, "--out", home / "models/em-like", "--name", "em-like", *quick)


def boundary(home: Path, _work: Path) -> None:
    """An untrained boundary model, and an image to adapt it to."""
    made = nc.phantom("neuropil", (24, 64, 64), seed=7)
    nc.save_volume(made.image, home / "em.ome.zarr", levels=1)
    nc.save_volume(made.truth["neurons"], home / "em_truth.ome.zarr", levels=1)
    nc.save_model(new_model(replace(tiny_card("boundary"), network=NETWORK), 0, device="cpu"), home / "models/boundary")


def adapted(home: Path) -> None:
    """A project of "Adapt to my data": suggested, annotated, fine-tuned and segmented; a second tuning was killed."""
    project, image, base = home / "results/adapt-em", home / "em.ome.zarr", home / "models/boundary"
    session = project / "session"
    pool = ("-n", 6, "--size", 32, "--pool", 40, "--random-arm", 2)
    command("suggest", image, "--model", base, "--out", session, *pool)
    _annotate(image, base, session, np.asarray(nc.open_volume(home / "em_truth.ome.zarr").levels[0].array[:]))
    labels = ("--labels", home / "em_truth.ome.zarr", "--label-kind", "instances")
    how = ("--crop", 32, "--batch", 2, "--parent-worth", 0, "--learning-rate", 0.02, "--device", "cpu")
    tuning = ("fine-tune", image, "--model", base, "--session", session)
    command(*tuning, *labels, "--out", project / "tuned-1", "--steps", 300, *how)
    model = ("--model", project / "tuned-1", "--backend", "torch")
    command("segment", image, *model, "--out", project / "segments-1")
    document = _recipe(project / "tuned-1/recipe.yaml", labels=None, out=str(project / "tuned-2"))
    document["params"] |= {"steps": 30, "seed": 1}
    kept = project / "recipes/tuned-2/recipe.yaml"
    kept.parent.mkdir(parents=True)
    _write_recipe(document, kept)
    killed("training", 15, "run", kept)
    assert (project / "tuned-2/training.safetensors").is_file()


def _recipe(path: Path, **changes: Any) -> dict[str, Any]:
    """A recipe with other entries; None leaves one out."""
    from napari_connecto.workflows.recipes.recipe import read_recipe

    return {key: value for key, value in (read_recipe(path) | changes).items() if value is not None}


def _write_recipe(document: dict[str, Any], path: Path) -> None:
    from napari_connecto.workflows.recipes.recipe import write_recipe

    write_recipe(document, path)


def _annotate(image: Path, base: Path, session: Path, truth: np.ndarray) -> None:
    """As the dock: one patch pre-filled, corrected, committed; one so, skipped and taken back; one skipped."""
    card = nc.load_model(base, device="cpu", backend="torch").card
    with nc.Session.open(session, nc.open_volume(image), card, spec=str(image), model=str(base)) as opened:
        learnt = [state for state in opened.patches if not state.held_out]
        for state in learnt[:2]:
            there = np.where(truth[state.box.slices] == 0, 1, 2).astype(np.uint32)
            draft = opened.open_patch(state.id, there)
            draft.labels[:, :8] = 0
            opened.commit(state.id)
        opened.skip(learnt[1].id)
        opened.undo()
        opened.skip(learnt[-1].id)


def searched(home: Path) -> None:
    """A search and its review in the dock, and one from the shell that was killed."""
    import napari

    from napari_connecto.widgets.cascade.dock import CascadeWidget

    viewer = napari.Viewer(show=False)
    _open(viewer, home / "cells.ome.zarr")
    dock = CascadeWidget(viewer)
    viewer.window.add_dock_widget(dock)
    _wait(lambda: dock.image.full is not None and dock.cascade.folder is not None)
    dock.cascade.use(home / "models/cells")
    _wait(lambda: dock.card.estimate is not None)
    dock.options.form.change(audit=8)
    _wait(lambda: dock.card.estimate is not None and not dock.bar.worker.state.busy)
    dock.bar.button.click()
    _wait(lambda: not dock.bar.worker.state.busy and dock.results.review is not None)
    dock.results.step(1)
    for status in ("accepted", "rejected", "accepted"):
        dock.results.judge(status)
    dock.close_jobs()
    viewer.close()
    search = ("detect", home / "cells.ome.zarr", "--cascade", home / "models/cells", "--audit", 8)
    out = home / "results/interrupted"
    killed("level 0", 4, *search, "--batch", 1, "--backend", "torch", "--out", out)
    assert (out / "scores_0.bin").is_file()
    assert not (out / "report.json").exists()


def translated(home: Path) -> None:
    """A translation in the dock."""
    import napari

    from napari_connecto.widgets.xray.dock import TranslateWidget

    viewer = napari.Viewer(show=False)
    _open(viewer, home / "xray.ome.zarr")
    dock = TranslateWidget(viewer)
    viewer.window.add_dock_widget(dock)
    _wait(lambda: dock.image.full is not None and dock.translator.folder is not None)
    dock.translator.use(home / "models/em-like/translator")
    _wait(lambda: dock.card.estimate is not None)
    dock.bar.button.click()
    _wait(lambda: not dock.bar.worker.state.busy and dock.trust.alive)
    dock.close_jobs()
    viewer.close()


def _open(viewer: Any, path: Path) -> None:
    from napari_connecto.widgets.viewer.show import layer_data

    data, keywords, _ = layer_data(nc.open_volume(path))
    viewer.add_image(data, **keywords)


def _wait(until: Callable[[], bool], seconds: float = 120.0) -> None:
    from qtpy.QtWidgets import QApplication

    app, begin = QApplication.instance(), time.monotonic()
    while not until():
        assert time.monotonic() - begin < seconds
        assert app is not None
        app.processEvents()
        time.sleep(0.01)


def expected(home: Path) -> None:
    """What the networks of this version answer to noise, a corner of each output."""
    networks = {"boundary": nc.load_model(home / "results/adapt-em/tuned-1/model", device="cpu", backend="torch")}
    for n, stage in enumerate(nc.load_cascade(home / "models/cells", backend="torch").stages):
        networks[f"cells-{n}"] = stage
    for n, member in enumerate(nc.load_translator(home / "models/em-like/translator", backend="torch").members):
        networks[f"em-like-{n}"] = member
    found = {f"{name} {out}": part for name, net in networks.items() for out, part in answers(net).items()}
    np.savez_compressed(home / ANSWERS, **found)


def named_for_good(home: Path) -> None:
    """Let the digits in the names of the docks' folders be those of a home at `HOME`."""
    from napari_connecto.widgets.viewer.volumes import lasting

    for folder, image, model, params in (
        ("blobs-2-cells-*", "cells", "models/cells", ()),
        ("em-like-xray-*", "xray", "models/em-like/translator", (nc.TranslateParams(),)),
    ):
        (made,) = home.glob(f"results/{folder}")
        volume = replace(nc.open_volume(home / f"{image}.ome.zarr"), source=f"{HOME}/{image}.ome.zarr")
        name = f"{made.name.rsplit('-', 1)[0]}-{lasting(volume, Path(HOME, model), *params)}"
        rename(home, str(made), str(made.with_name(name)))
        made.rename(made.with_name(name))


def main(target: Path) -> None:
    """Make everything in a scratch folder, then keep it under ``target`` with `HOME` for the scratch folder's path."""
    home = target.with_name(f"{target.name}-made").absolute()
    work = home / "training"
    work.mkdir(parents=True)
    os.environ["NAPARI_CONNECTO_RESULTS"] = str(home / "results")
    for make in (cascade, translator, boundary):
        make(home, work)
    stamp(home)
    searched(home)
    translated(home)
    adapted(home)
    expected(home)
    named_for_good(home)
    shutil.rmtree(work)
    for lock in home.rglob(".lock"):
        lock.unlink()
    rename(home, str(home), HOME)
    home.rename(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
