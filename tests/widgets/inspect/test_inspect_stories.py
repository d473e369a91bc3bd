"""Four stories of the dock "Inspect a model", each from a click to a result with the right numbers."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

from click.testing import CliRunner
from torch import no_grad
from torch.nn import Conv2d

from napari_connecto.cli import cli
from napari_connecto.core.geometry import Box
from napari_connecto.core.ranking import average_precision
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import read_json
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import load_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.inspect.taps import network
from napari_connecto.sample_data import list_models, open_sample
from napari_connecto.widgets.inspect.knows import SCORE, SCRIBBLES
from napari_connecto.widgets.inspect.missed import BETTER_MODEL, PAINT
from napari_connecto.widgets.inspect.trust import ALL
from napari_connecto.widgets.shared.error_map import ERROR
from napari_connecto.widgets.shared.worst import WORST
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.workflows.inspect.guard.faults import plant
from napari_connecto.workflows.inspect.prune.params import PruneParams
from napari_connecto.workflows.shared.whole import answers
from tests.once import once
from tests.widgets.inspect import blobs
from tests.widgets.inspect.steps import pressed

pytestmark = pytest.mark.gl


def shown(viewer, volume: Volume):
    """A layer of a volume."""
    data, keywords, _ = layer_data(volume)
    return viewer.add_image(data, **keywords)


def chosen(dock, layer, qtbot) -> None:
    """The image is chosen and open."""
    dock.image.layers.choose(layer)
    qtbot.waitUntil(lambda: dock.image.full is not None and not dock.image.opening, timeout=10_000)


@pytest.fixture(scope="module")
def guarded_discs(tmp_path_factory) -> Path:
    """Folder of a model of discs that has a guard."""
    return once("guarded-discs", blobs.make, tmp_path_factory.mktemp("discs") / "model")


@pytest.mark.slow
def test_a_planted_merge_is_found(dock, viewer, guarded_discs, qtbot) -> None:
    """Two discs are joined in the model's answer: the first of the worst places is there, and a click goes to it."""
    image, discs = blobs.scene(7)
    model = load_model(guarded_discs, device="cpu", backend="torch")
    scaled = blobs.CARD.normalisation.resolve(blobs.volume(image, "discs"))(image)
    right = answers(model, scaled)["foreground"]
    wrong, where = plant(right[0], discs[0], "masks", "merge", 1.0, np.random.default_rng(4))
    layers = [shown(viewer, blobs.volume(image, "discs"))]
    for name, answer in (("right", right), ("merged", wrong[None])):
        layers.append(shown(viewer, blobs.volume(np.rint(255 * answer).astype(np.uint8), name)))
    dock.model.use(guarded_discs)
    chosen(dock, layers[0], qtbot)
    dock.tabs.setCurrentWidget(dock.trust)
    dock.trust.where.setCurrentText(ALL)
    found, maps = [], []
    for layer in layers[1:]:
        dock.trust.answer.choose(layer)
        pressed(dock.trust.bar, qtbot)
        found.append(list(dock.trust.worst.places))
        error = viewer.layers[ERROR]
        maps.append(np.asarray(error.data[0] if error.multiscale else error.data)[0] / 255.0)
    assert maps[1][where].mean() > 10 * maps[0][where].mean()
    assert found[1][0].error > 1.5 * found[1][1].error  # the rest of the answer is right
    centre = np.argwhere(where).mean(axis=0)
    first = found[1][0].box
    assert (np.array(first.start[1:]) <= centre).all()
    assert (centre < np.array(first.stop[1:])).all()
    dock.trust.worst.list.itemClicked.emit(dock.trust.worst.list.item(0))
    here = layers[0].world_to_data([viewer.dims.point[0], *viewer.scene.camera.center[-2:]])
    np.testing.assert_allclose(here[1:], np.array(first.centre)[1:] - 0.5, atol=0.51)
    marks = viewer.layers[WORST]
    assert len(marks.data) == len(found[1])
    assert marks.features["error"].iloc[0] == found[1][0].error


@pytest.mark.slow
def test_a_probe_lights_up_mitochondria(dock, viewer, qtbot) -> None:
    """A model of membranes, a few strokes on a third of a section: the score tells mitochondria in the rest of it."""
    part = Box((4, 0, 0), (5, 192, 256))
    image, truth = (open_sample("neuropil", name) for name in (None, "mitochondria"))
    section, mask = (np.asarray(v.levels[0].read(part)) for v in (image, truth))
    layer = shown(viewer, Volume((Level(section, image.levels[0].voxel_nm),), name="section"))
    dock.model.use(list_models()["synthetic-neuropil"])
    chosen(dock, layer, qtbot)
    viewer.reset_view()
    dock.tabs.setCurrentWidget(dock.knows)
    dock.knows.paint.click()
    strokes = np.where(mask > 0, 2, 1).astype(np.uint8)
    strokes[:, :, 96:] = 0
    strokes[:, np.arange(192) % 6 > 1] = 0
    viewer.layers[SCRIBBLES].data = strokes
    pressed(dock.knows.bar, qtbot)
    score = viewer.layers[SCORE]
    values = np.asarray(score.data[0] if score.multiscale else score.data, float)[0, :192, 128:256]
    there = mask[0, :, 128:] > 0
    assert there.any()
    assert average_precision(values.ravel(), there.ravel()) > max(0.5, 4 * there.mean())
    assert values[there].mean() > 3 * values[~there].mean()


def test_a_planted_fault_is_named(dock, viewer, files, images, clear, qtbot, tmp_path) -> None:
    """The kernel of one channel is turned and made larger; the healthy model is the better one."""
    healthy = load_model(files[2] / "near", backend="torch")
    place = network(healthy).taps["encoder.1"]
    net = deepcopy(healthy.net)
    conv = next(m for m in net.modules() if isinstance(m, Conv2d) and m.out_channels == place.channels)
    with no_grad():
        conv.weight[5] = -3 * conv.weight[5].flip(-1)
    save_model(TorchPredictor(healthy.card, net, "cpu"), tmp_path / "faulty")
    ill = load_model(tmp_path / "faulty", backend="torch")
    scaled = healthy.card.normalisation.resolve(images[1])(np.asarray(images[1].levels[0].array))
    rise = answers(healthy, scaled)["boundary"] - answers(ill, scaled)["boundary"]
    dock.model.use(tmp_path / "faulty")
    dock.tabs.setCurrentWidget(dock.missed)
    dock.missed.paint.click()
    labels = np.where(rise > np.quantile(rise, 0.9), 1, np.where(rise < np.quantile(rise, 0.1), 2, 0))
    viewer.layers[PAINT].data = labels.astype(np.uint8)
    dock.missed.against.setCurrentText(BETTER_MODEL)
    names = [dock.missed.other.itemText(i) for i in range(dock.missed.other.count())]
    dock.missed.other.setCurrentText(next(name for name in names if name.startswith("near")))
    pressed(dock.missed.bar, qtbot)
    assert "These channels carry it: encoder.1:5" in dock.missed.about.text()


def test_a_smaller_model_is_saved_and_segments(dock, clear, files, qtbot, viewer, tmp_path) -> None:
    """What the dock saves is a model like any other: chosen, loaded, and used by `segment` from the shell."""
    dock.tabs.setCurrentWidget(dock.smaller)
    dock.smaller.form.value = PruneParams(places=2, size=32, steps=1, batch=1)
    pressed(dock.smaller.bar, qtbot)
    rows = {bar.name: bar for bar in dock.smaller.plot.bars}
    assert rows["weights, original"].share == 1
    assert 0.1 < rows["weights, smaller"].share < 0.5
    with qtbot.waitSignal(dock.smaller.bar.report.written, timeout=120_000) as written:
        dock.smaller.bar.report.click()
    assert rows["weights, smaller"].text in written.args[0].read_text(encoding="utf-8")
    before = load_model(dock.model.folder, backend="torch")
    dock.smaller.use.click()
    folder = dock.model.folder
    small = load_model(folder, backend="torch")
    assert small.card.parent == before.card.digest
    assert rows["file, smaller"].text == f"{len(small.weights) / 1000:,.0f} kB"
    region = ["--region", 0, 0, 0, 2, 128, 128]
    arguments = ["segment", files[0], "--model", folder, "--out", tmp_path / "segments", *region]
    done = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = read_json(tmp_path / "segments" / "segments.json")
    labels = open_volume(tmp_path / "segments" / "labels" / "labels.zarr")
    layer = viewer.add_labels(np.asarray(labels.levels[0].read(Box((0, 0, 0), (2, 128, 128)))))
    assert len(np.unique(layer.data[layer.data > 0])) == told["segments"] > 0
    documents = (tmp_path / "segments").rglob("*.json")
    assert any(small.card.digest in path.read_text() for path in documents)
