"""Pictures of the docks: ``xvfb-run -a -s "-screen 0 1366x768x24" python docs/make_screenshots.py [SCENE...]``

Drives a real viewer with the shipped samples and saves the whole window to ``docs/images``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import _shots_inspect
import _shots_translate
import napari
import numpy as np
from napari.settings import get_settings
from qtpy.QtWidgets import QApplication
from scipy import ndimage

from napari_connecto.core.views.invert import inverted
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.sample_data import cascade_folder, open_sample
from napari_connecto.widgets.adapt import project as adapt_project
from napari_connecto.widgets.shared.worker import State
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.workflows.adapt.params import FineTuneParams, RankParams
from napari_connecto.workflows.shared.em_labels import to_em

IMAGES = Path(__file__).parent / "images"


def wait(condition: Callable[[], object], limit_s: float = 1800) -> None:
    """Run the event loop until something holds."""
    end = time.perf_counter() + limit_s
    while not condition():
        if time.perf_counter() > end:
            raise SystemExit(f"waited {limit_s} s in vain")
        QApplication.processEvents()
        time.sleep(0.005)


def settle(seconds: float = 0.6) -> None:
    """Let everything be drawn."""
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > end)


def shoot(viewer: napari.Viewer, name: str) -> None:
    """Save the whole window."""
    settle()
    IMAGES.mkdir(exist_ok=True)
    viewer.screenshot(path=str(IMAGES / f"{name}.png"), canvas_only=False, flash=False)


def open_sample_and_dock(viewer: napari.Viewer, sample: str, dock: str) -> Any:
    """A sample without its truths, and a dock, without another one that the sample may have opened."""
    viewer.open_sample("napari-connecto", sample)
    settle()  # the sample's own dock opens in a moment
    for name, opened in list(viewer.window.dock_widgets.items()):
        if "napari-connecto" in name and dock not in name:
            viewer.window.remove_dock_widget(opened)
    viewer.window.resize(1366, 768)
    for layer in list(viewer.layers)[1:]:
        viewer.layers.remove(layer)
    viewer.layers.selection.active = viewer.layers[0]
    settle()
    title = f"{dock} (napari-connecto)"
    for other in [name for name in viewer.window.dock_widgets if "(napari-connecto)" in name and name != title]:
        viewer.window.remove_dock_widget(viewer.window.dock_widgets[other])  # the one that the sample opened
    return viewer.window.add_plugin_dock_widget("napari-connecto", dock)


def open_dock(viewer: napari.Viewer, sample: str, cascade: str, out: Path) -> Any:
    """The sample and the dock, with the estimate on the card."""
    _, dock = open_sample_and_dock(viewer, sample, "Cascade detection")
    wait(lambda: dock.cascade.folder is not None)
    dock.cascade.use(cascade_folder(cascade))
    dock.options.out.setText(str(out))
    wait(lambda: dock.card.estimate is not None)
    return dock


def show_part(dock: Any, part: Any) -> None:
    """Scroll the dock so that a part begins at its top."""
    settle(0.2)
    dock.scroller.verticalScrollBar().setValue(part.y() - 6)


def cells(viewer: napari.Viewer, out: Path) -> None:
    """Before, during, and reviewing; a cascade, even where a busy machine would make an exhaustive search faster."""
    dock = open_dock(viewer, "cells", "cells", out)
    before = dock.card.estimate
    dock.options.form.change(force_cascade=True)
    wait(lambda: dock.card.estimate is not None and dock.card.estimate is not before)
    shoot(viewer, "cascade_before")
    dock.preview.click()
    found = lambda: 0 if dock.results.review is None else len(dock.results.review.found)  # noqa: E731
    wait(lambda: found() > 5 or not dock.bar.worker.state.busy)
    shoot(viewer, "cascade_preview")
    wait(lambda: not dock.bar.worker.state.busy)
    press(dock.bar, dock.bar.button)
    dock.results.step(1)
    for verdict in ("accepted", "accepted", "rejected", "accepted"):
        dock.results.judge(verdict)
    viewer.scene.camera.zoom *= 1.6
    shoot(viewer, "cascade_review")
    viewer.close()


def use(viewer: napari.Viewer, out: Path) -> None:
    """What is done with detections: regions counted, fields of view planned."""
    dock = open_dock(viewer, "cells", "cells", out)
    press(dock.bar, dock.bar.button)
    image = viewer.layers[0]
    halves = np.ones((1, 2, 1), np.uint8)
    halves[:, 1] = 2
    size = np.array(image.data[0].shape if image.multiscale else image.data.shape) / halves.shape
    scale, corner = image.scale * size, image.translate + image.scale * (size - 1) / 2
    regions = viewer.add_labels(halves, name="regions", scale=scale, translate=corner, units=image.units, opacity=0.15)
    regions.features = {"index": [1, 2], "name": ["upper half", "lower half"]}
    dock.use.regions.choose(regions)
    dock.use.form.change(size=(60.0, 60.0), margin=2.0)
    for bar in (dock.use.measure, dock.use.count, dock.use.plan):
        press(bar, bar.button)
    viewer.layers.selection.active = image
    show_part(dock, dock.use)
    shoot(viewer, "cascade_use")
    viewer.close()


def neuropil(viewer: napari.Viewer, out: Path) -> None:
    """Masks, and training from labels."""
    dock = open_dock(viewer, "neuropil", "mitochondria", out)
    press(dock.bar, dock.bar.button)
    shoot(viewer, "cascade_masks")
    dock.results.step(1)
    for _ in range(3):
        dock.results.judge("accepted")
    dock.results.make_training()
    settle(2)  # until the objects are counted
    shoot(viewer, "cascade_train")
    viewer.close()


def adapt(viewer: napari.Viewer, out: Path) -> None:
    """The five steps, annotated by the sample's truth."""
    adapt_project.output_folder = lambda: out
    _, dock = open_sample_and_dock(viewer, "neuropil", "Adapt to my data")
    wait(lambda: dock.image.full is not None and dock.choose.folders)
    truth = to_em(np.asarray(open_sample("neuropil", "neurons").levels[0].array[:]), "instances")
    press(dock.choose.bar, dock.choose.bar.button)
    shoot(viewer, "adapt_rank")
    dock.go_to(2)
    press(dock.annotate.bar, dock.annotate.bar.button)
    annotate(viewer, dock, truth)
    dock.go_to(3)
    dock.tune.form.value = FineTuneParams(preset="quick", crop=128)
    dock.tune.bar.button.click()
    wait(lambda: len(dock.tune.curve.loss) > 40 or not dock.tune.bar.worker.state.busy)
    shoot(viewer, "adapt_tune")
    wait(lambda: not dock.tune.bar.worker.state.busy)
    dock.go_to(4)
    press(dock.compare.bar, dock.compare.bar.button)
    shoot(viewer, "adapt_compare")
    dock.compare.swipe.slider.setValue(45)
    shoot(viewer, "adapt_swipe")
    dock.go_to(5)
    wait(lambda: dock.segment.card.estimate is not None)
    shoot(viewer, "adapt_cost")
    press(dock.segment.bar, dock.segment.bar.button)
    shoot(viewer, "adapt_segment")
    viewer.close()


def proofread(viewer: napari.Viewer, out: Path) -> None:
    """A segment and its largest neighbour merged by two clicks, and the first click of the next decision."""
    adapt_project.output_folder = lambda: out
    save_volume(_shots_inspect.part("neuropil"), out / "neuropil.ome.zarr")
    data, keywords, _ = layer_data(open_volume(out / "neuropil.ome.zarr"))
    viewer.add_image(data, **keywords)
    dock = viewer.window.add_plugin_dock_widget("napari-connecto", "Adapt to my data")[1]
    wait(lambda: dock.image.full is not None and dock.choose.folders)
    dock.choose.choose("synthetic-neuropil")
    dock.go_to(5)
    wait(lambda: dock.segment.card.estimate is not None)
    press(dock.segment.bar, dock.segment.bar.button)
    box = dock.segment.proofread
    box.start.click()
    wait(lambda: box.work is not None and not box.worker.state.busy)
    level = box.work.volume.levels[0]
    z = min(int(viewer.dims.current_step[0]), level.shape[0] - 1)
    section = level.read(level.box)[z]
    numbers, counts = np.unique(section[section > 0], return_counts=True)
    first, *others = numbers[np.argsort(-counts)]
    beside = np.unique(section[ndimage.binary_dilation(section == first, iterations=3)])
    second = next(number for number in others if number in beside)
    for number in (first, second, next(number for number in others if number != second)):
        where = np.argwhere(section == number)
        y, x = where[np.abs(where - where.mean(axis=0)).sum(axis=1).argmin()]
        box.click((z, int(y), int(x)))
        wait(lambda: not box.worker.state.busy)
    shoot(viewer, "adapt_proofread")


def preview(viewer: napari.Viewer, out: Path) -> None:
    """What AdaBN and playback make of the models; on data of its own kind a model has nothing to play back."""
    adapt_project.output_folder = lambda: out
    _, dock = open_sample_and_dock(viewer, "neuropil", "Adapt to my data")
    wait(lambda: dock.image.full is not None and dock.choose.folders)
    dock.choose.form.value = RankParams(patches=40)
    press(dock.choose.bar, dock.choose.bar.button)
    dock.choose.choose("fly-medulla")
    dock.choose.before.adabn.setChecked(True)
    dock.choose.before.playback.setChecked(True)
    press(dock.choose.bar, dock.choose.preview)
    show_part(dock, dock.choose.choice)
    shoot(viewer, "adapt_preview")
    viewer.close()


def contrast(viewer: napari.Viewer, out: Path) -> None:
    """The sample with bright membranes, and the banner that offers to read it inverted."""
    adapt_project.output_folder = lambda: out
    save_volume(inverted(open_sample("neuropil")), out / "bright.ome.zarr")
    data, keywords, _ = layer_data(open_volume(out / "bright.ome.zarr"))
    viewer.add_image(data, **keywords)
    dock = viewer.window.add_plugin_dock_widget("napari-connecto", "Adapt to my data")[1]
    wait(lambda: dock.image.full is not None and dock.choose.folders)
    dock.choose.choose("synthetic-neuropil")
    wait(lambda: dock.contrast.found is not None)
    shoot(viewer, "adapt_contrast")
    viewer.close()


def annotate(viewer: napari.Viewer, dock: Any, truth: np.ndarray) -> None:
    """Open every suggested patch, paint what is true, commit."""
    part = dock.annotate
    part.open()
    for number in range(1, part.queue.count() + 1):
        wait(lambda number=number: part.opened is not None and part.opened.id == number)
        if number == 2:
            shoot(viewer, "adapt_annotate")  # with the model's prediction
        here = stretched(truth[part.opened.box.slices], part.patch.labels.data.shape)
        for value in np.unique(here):
            part.patch.labels.data_setitem(np.nonzero(here == value), np.uint32(value))
        part.commit()
        wait(lambda: not dock.project.committing)


def stretched(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Labels (z, y, x) on the grid of a model's voxels."""
    index = [((np.arange(n) + 0.5) * have / n).astype(int) for n, have in zip(shape, labels.shape, strict=True)]
    return labels[np.ix_(*index)]


def press(bar: Any, button: Any) -> None:
    """Press a button, wait for its job, and say so if it fails."""
    button.click()
    wait(lambda: not bar.worker.state.busy)
    if bar.worker.state is not State.DONE:
        raise SystemExit(bar.error.label.text())


def xray(viewer: napari.Viewer, out: Path) -> None:
    """X-ray to EM: a translator trained from the shipped pair, and what it makes of the X-ray."""
    viewer.open_sample("napari-connecto", "xray")
    viewer.layers.remove(viewer.layers[2])
    viewer.layers.selection.active = viewer.layers[0]
    settle()
    _, dock = viewer.window.add_plugin_dock_widget("napari-connecto", "X-ray to EM")
    wait(lambda: dock.image.full is not None)
    _shots_translate.train(viewer, dock, out, sys.modules[__name__])
    _shots_translate.run(viewer, dock, sys.modules[__name__])
    viewer.close()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="napari-connecto-") as folder:
        napari.settings._CFG_PATH = str(Path(folder) / "settings.yaml")  # nobody's preferences are read or changed
        get_settings().appearance.theme = "dark"
        scenes = {scene.__name__: scene for scene in (cells, use, neuropil, adapt, proofread, preview, contrast, xray)}
        tools = sys.modules[__name__]
        scenes |= {name: partial(scene, tools=tools) for name, scene in _shots_inspect.SCENES.items()}
        for name, scene in scenes.items():
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            viewer = napari.Viewer(show=True, show_welcome_screen=False)
            viewer.window.resize(1366, 768)
            scene(viewer, Path(folder) / name)


if __name__ == "__main__":
    main()
