"""Pictures of the dock "Inspect a model": steps of scenes of ``docs/make_screenshots.py``, which is ``tools`` here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
import numpy as np
from scipy import ndimage

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.sample_data import list_models, open_sample
from napari_connecto.widgets.inspect import smaller
from napari_connecto.widgets.inspect import trust as widget
from napari_connecto.widgets.inspect.knows import SCORE, SCRIBBLES
from napari_connecto.widgets.inspect.missed import PAINT
from napari_connecto.widgets.inspect.trust import ALL
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.workflows.inspect.concepts.params import ConceptParams
from napari_connecto.workflows.inspect.missed.params import MissedParams
from napari_connecto.workflows.inspect.prune.params import PruneParams

PART = Box((4, 0, 0), (12, 192, 256))
"""Of the sample: enough for blocks to be left out, small enough for a minute of computing."""


def part(name: str, truth: str | None = None) -> Volume:
    """A part of the sample or of one of its truths."""
    level = open_sample("neuropil", truth).levels[0]
    kind = "image" if truth is None else "labels"
    return Volume((Level(np.asarray(level.read(PART)), level.voxel_nm),), name=name, kind=kind)


def opened(viewer: napari.Viewer, tools: Any, volumes: list[Volume], model: str = "synthetic-neuropil") -> Any:
    """The dock on the first of these images, with a shipped model."""
    for volume in volumes:
        data, keywords, kind = layer_data(volume)
        (viewer.add_labels if kind == "labels" else viewer.add_image)(data, **keywords)
    _, dock = viewer.window.add_plugin_dock_widget("napari-connecto", "Inspect a model")
    tools.wait(lambda: dock.model.folder is not None)
    dock.model.use(list_models()[model])
    dock.image.layers.choose(viewer.layers[0])
    tools.wait(lambda: dock.image.full is not None and not dock.image.opening)
    viewer.reset_view()
    return dock


def trust(viewer: napari.Viewer, out: Path, tools: Any) -> None:
    """A section of which a half is blurred: the guard of fly-medulla says so, and where to look."""
    whole = part("neuropil")
    section = np.array(whole.levels[0].array[:1], np.float32)
    section[:, :, 128:] = ndimage.gaussian_filter(section, (0, 4, 4))[:, :, 128:]
    level = Level(np.rint(section).astype(np.uint8), whole.levels[0].voxel_nm)
    widget.output_folder = lambda: out
    dock = opened(viewer, tools, [Volume((level,), name="right half blurred")], "fly-medulla")
    dock.tabs.setCurrentWidget(dock.trust)
    dock.trust.where.setCurrentText(ALL)
    tools.press(dock.trust.bar, dock.trust.bar.button)
    dock.trust.worst.list.setCurrentRow(0)
    tools.show_part(dock, dock.tabs)
    tools.shoot(viewer, "inspect_trust")
    viewer.close()


def knows(viewer: napari.Viewer, out: Path, tools: Any) -> None:
    """A few strokes become a map of mitochondria; then the stages that tell them."""
    truth = part("mitochondria", "mitochondria")
    dock = opened(viewer, tools, [part("neuropil"), truth])
    viewer.layers["mitochondria"].visible = False
    dock.tabs.setCurrentWidget(dock.knows)
    dock.knows.paint.click()
    strokes = np.where(np.asarray(truth.levels[0].array) > 0, 2, 1).astype(np.uint8)
    strokes[1:], strokes[:, :, 100:], strokes[:, np.arange(strokes.shape[1]) % 8 > 1] = 0, 0, 0
    viewer.layers[SCRIBBLES].data = strokes
    viewer.dims.set_current_step(0, 0)
    tools.press(dock.knows.bar, dock.knows.bar.button)
    tools.show_part(dock, dock.tabs)
    tools.shoot(viewer, "inspect_probe")
    viewer.layers[SCORE].visible = viewer.layers[SCRIBBLES].visible = False
    dock.knows.labels.choose(viewer.layers["mitochondria"])
    dock.knows.form.value = ConceptParams(autoencoder=False, untrained=1, pixels=12000, sections=8, block=32, gap=4)
    tools.press(dock.knows.stages, dock.knows.stages.button)
    tools.show_part(dock, dock.tabs)
    tools.shoot(viewer, "inspect_stages")
    viewer.close()


def missed(viewer: napari.Viewer, out: Path, tools: Any) -> None:
    """Membranes that blur hides: which stages and channels carry the failure."""
    clear = part("clear")
    blurred = ndimage.gaussian_filter(np.asarray(clear.levels[0].array), (0, 4, 4))
    dock = opened(viewer, tools, [Volume((Level(blurred, clear.levels[0].voxel_nm),), name="blurred"), clear])
    viewer.layers["clear"].visible = False
    dock.tabs.setCurrentWidget(dock.missed)
    dock.missed.paint.click()
    membranes = np.asarray(part("neurons", "neurons").levels[0].array) == 0
    labels = np.where(membranes, 1, 2).astype(np.uint8)
    labels[1:], labels[:, :40], labels[:, 90:], labels[:, :, :60], labels[:, :, 120:] = 0, 0, 0, 0, 0
    viewer.layers[PAINT].data = labels
    viewer.dims.set_current_step(0, 0)
    dock.missed.better.choose(viewer.layers["clear"])
    dock.missed.form.value = MissedParams(tiles=1, exact=12, draws=1)
    tools.press(dock.missed.bar, dock.missed.bar.button)
    viewer.layers[PAINT].opacity = 0.3
    tools.show_part(dock, dock.tabs)
    tools.shoot(viewer, "inspect_missed")
    dock.missed.attacking.unfold()
    tools.press(dock.missed.attack.bar, dock.missed.attack.bar.button)
    for name in ("bad", "good", PAINT):
        viewer.layers[name].visible = False
    dock.scroller.ensureWidgetVisible(dock.missed.attack.about)
    tools.shoot(viewer, "inspect_attack")
    viewer.close()


def shrunk(viewer: napari.Viewer, out: Path, tools: Any) -> None:
    """Half of the channels: what is saved and what is lost."""
    smaller.output_folder = lambda: out
    dock = opened(viewer, tools, [part("neuropil")])
    dock.tabs.setCurrentWidget(dock.smaller)
    dock.smaller.form.value = PruneParams(places=8, size=64, steps=40, batch=2)
    tools.press(dock.smaller.bar, dock.smaller.bar.button)
    tools.show_part(dock, dock.tabs)
    tools.shoot(viewer, "inspect_smaller")
    viewer.close()


SCENES = {"inspect_trust": trust, "inspect_missed": missed, "inspect_knows": knows, "inspect_smaller": shrunk}
