"""Any detector from the dock in a real viewer, without a label: chosen, set up, run alone, and as a cascade."""

from __future__ import annotations

import dataclasses
import shlex

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari_connecto.core.volume import Volume
from napari_connecto.phantoms import phantom
from napari_connecto.widgets.cascade import dock as cascade
from napari_connecto.widgets.cascade.find.box import BRIGHT, MODEL
from napari_connecto.widgets.cascade.find.finder import Finder, ModelChoice, changed_options, form_kind
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.viewer.layers import SOURCE
from napari_connecto.workflows.cascade.training.distil.scale import typical_diameter
from napari_connecto.workflows.cascade.training.stage import BUDGETS, Budget
from tests import own_detectors

NM = 10.0

# torch says that TorchScript is deprecated; jobs of the dock change the warnings' filters meanwhile, in their threads
OLD_TORCHSCRIPT = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:FutureWarning", "ignore:.*torch.jit.*:DeprecationWarning"
)


def discs(count=12, side=256, radius=6, step=50):
    """Centres (n, 2) and an image of bright discs on a grid."""
    centres = np.array([(40 + step * (k // 4), 40 + step * (k % 4)) for k in range(count)], float)
    y, x = np.mgrid[:side, :side]
    near = np.min([np.hypot(y - cy, x - cx) for cy, cx in centres], axis=0) <= radius
    return centres, np.where(near, 200, 20).astype(np.uint8)


@pytest.fixture
def dock(viewer, qtbot, monkeypatch, tmp_path):
    own_detectors.register(monkeypatch)
    monkeypatch.setattr(cascade, "output_folder", lambda: tmp_path / "results")
    widget = cascade.CascadeWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Cascade detection")
    yield widget
    widget.close_jobs()


def show(dock, viewer, qtbot, tmp_path, image, nm=(NM, NM)):
    tifffile.imwrite(tmp_path / "discs.tif", image)
    viewer.add_image(image, name="discs", scale=nm, units="nm", metadata={SOURCE: str(tmp_path / "discs.tif")})
    dock.image.reopen()
    qtbot.waitUntil(lambda: dock.image.full is not None and bool(dock.cascade.others), timeout=30_000)
    viewer.reset_view()


def choose(dock, qtbot, name, **options):
    dock.cascade.combo.setCurrentText(name)
    dock.cascade.combo.activated.emit(0)
    qtbot.waitUntil(lambda: dock.finder.form is not None, timeout=60_000)
    dock.finder.form.change(**options)
    qtbot.waitUntil(lambda: dock.cascade.folder is not None, timeout=120_000)


def at_once(monkeypatch):
    """A training of seconds, in this process."""
    monkeypatch.setitem(BUDGETS, "quick", Budget(2, 20))
    monkeypatch.setattr(
        "napari_connecto.workflows.recipes.own_process.run_in_subprocess", lambda asked, work: asked.job(None)
    )


def done(dock, qtbot, button):
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=240_000):
        button.click()
    return dock.results.review.found


def test_an_object_of_its_own_fields_has_a_form(qtbot):
    """Options of a detector of another package, which says nothing of their meaning, are edited all the same."""
    form = ParamsForm(form_kind(own_detectors.Bright))
    qtbot.addWidget(form)
    assert form.row("threshold").value == 0.5
    assert changed_options(form.value) == {}
    form.change(threshold=0.25)
    finder = Finder("bright", changed_options(form.value))
    assert finder.words["detector_options"] == "threshold=0.25"
    assert changed_options(ModelChoice()) == {}
    assert Finder("/a/b c.zip").name == "b-c.zip"


@pytest.mark.parametrize("across", [10, 24])
@pytest.mark.parametrize("dark", [False, True])
def test_the_diameter_of_blobs_is_estimated(across, dark):
    image = discs(radius=across / 2)[1]
    image = 255 - image if dark else image
    found = typical_diameter(Volume.from_array(image, (NM, NM, NM)), dark=dark)
    assert found == pytest.approx(across * NM, rel=0.3)


@pytest.mark.gl
@pytest.mark.slow
def test_a_registered_callable_runs_alone_and_as_a_cascade(dock, viewer, qtbot, tmp_path, monkeypatch):
    centres, image = discs()
    show(dock, viewer, qtbot, tmp_path, image)
    choose(dock, qtbot, "bright", threshold=0.4)
    found = done(dock, qtbot, dock.bar.button)
    assert len(found) == 12
    want = (centres + 0.5) * NM
    order = np.lexsort((found.centre_nm[:, 2].round(), found.centre_nm[:, 1].round()))
    np.testing.assert_allclose(found.centre_nm[order, 1:], want, atol=NM)
    words = shlex.split(dock.command())
    assert words[words.index("--detector") + 1] == "bright"
    assert words[words.index("--detector-options") + 1] == "threshold=0.4"
    assert "--cascade" not in words
    at_once(monkeypatch)
    dock.gates.form.change(budget="quick")
    with qtbot.waitSignal(dock.gates.trained, timeout=240_000):
        dock.gates.bar.button.click()
    assert dock.cascade.other == ""
    assert "around bright, without labels" in dock.cascade.about.text()
    assert dock.gates.about.isVisibleTo(dock)
    assert dock.gates.bar.isHidden()
    assert len(done(dock, qtbot, dock.bar.button)) == 12


@OLD_TORCHSCRIPT
@pytest.mark.gl
@pytest.mark.slow
def test_a_package_runs_from_the_dock(dock, viewer, qtbot, tmp_path):
    pytest.importorskip("bioimageio.spec", reason="the extra 'bioimageio' is not installed")
    from napari_connecto.workflows.packages.detectors import detector
    from tests import packages

    package = packages.folder(tmp_path / "package", packages.files(packages.rdf5(nm=NM)))
    image = np.kron(packages.image((16, 16)), np.ones((16, 16), np.uint8))  # the same range on coarser levels
    show(dock, viewer, qtbot, tmp_path, image)
    choose(dock, qtbot, MODEL, source=str(package), shown="as it is")
    want = packages.sigmoid(packages.run(packages.net(), packages.scaled(image[None])[:, None]))[0, 0]
    dock.options.form.change(threshold=round(float(np.quantile(want, 0.99)), 3))
    found = done(dock, qtbot, dock.bar.button)
    assert len(found) > 0
    own = detector(package, Volume.from_array(image, (NM, NM, NM)), shown="as it is")
    assert dock.cascade.peeked.voxel_nm[1:] == own.card.voxel_nm[1:]
    layer = viewer.layers[next(layer.name for layer in viewer.layers if layer.name.startswith("probability"))]
    data = layer.data[0] if layer.multiscale else layer.data
    np.testing.assert_allclose(np.asarray(data).reshape(want.shape) / 255, want, atol=0.02)


@OLD_TORCHSCRIPT
@pytest.mark.gl
@pytest.mark.slow
def test_a_package_becomes_a_cascade_in_the_dock(dock, viewer, qtbot, tmp_path, monkeypatch):
    """Without a label; the cascade finds what the package alone finds."""
    pytest.importorskip("bioimageio.spec", reason="the extra 'bioimageio' is not installed")
    from tests import packages

    package = packages.folder(tmp_path / "package", packages.brightness(nm=NM))
    centres, image = discs(count=24, side=1024, step=170)
    show(dock, viewer, qtbot, tmp_path, image)
    choose(dock, qtbot, MODEL, source=str(package), shown="as it is")
    at_once(monkeypatch)
    dock.gates.form.change(budget="quick")
    with qtbot.waitSignal(dock.gates.trained, timeout=240_000):
        dock.gates.bar.button.click()
    assert dock.cascade.other == ""
    assert "without labels" in dock.cascade.about.text()
    found = done(dock, qtbot, dock.bar.button)
    order = np.lexsort((found.centre_nm[:, 2].round(), found.centre_nm[:, 1].round()))
    np.testing.assert_allclose(found.centre_nm[order, 1:], (centres + 0.5) * NM, atol=NM)


@pytest.mark.gl
@pytest.mark.slow
def test_blobs_preview_finds_the_phantoms_cells(dock, viewer, qtbot, tmp_path):
    cells = phantom("cells", (16, 192, 192), seed=1)
    level, truth = cells.image.levels[0], np.asarray(cells.truth["cells"].levels[0].array)
    show(dock, viewer, qtbot, tmp_path, np.asarray(level.array), nm=level.voxel_nm)
    choose(dock, qtbot, BRIGHT)
    assert dock.finder.form.row("diameter_nm").value > 0  # measured on the image
    viewer.dims.set_current_step(0, 8)
    found = done(dock, qtbot, dock.preview)
    hit = np.floor(level.to_voxels(found.centre_nm)).astype(int)
    shown = np.setdiff1d(truth[7:10], 0)
    labels = truth[tuple(hit.T)]
    assert np.isin(shown, labels).mean() >= 0.75  # one is fainter than the tissue is uneven
    assert (labels > 0).all(), "nothing else is found: with a lower contrast that one would be, and a hundred specks"


@pytest.mark.gl
def test_what_is_missing_or_wrong_is_one_line(dock, viewer, qtbot, tmp_path):
    show(dock, viewer, qtbot, tmp_path, discs()[1])
    dock.cascade.combo.setCurrentText(MODEL)
    dock.cascade.combo.activated.emit(0)
    qtbot.waitUntil(lambda: "No model is chosen; enter a folder" in dock.card.text.text(), timeout=10_000)
    assert not dock.bar.button.isEnabled()
    dock.finder.form.change(source=str(tmp_path / "nothing.zip"))
    qtbot.waitUntil(lambda: "no detector" in dock.finder.error.label.text(), timeout=60_000)
    assert dock.cascade.folder is None


@pytest.mark.gl
def test_a_drawn_object_or_a_label_gives_the_diameter(dock, viewer, qtbot, tmp_path):
    show(dock, viewer, qtbot, tmp_path, discs()[1])
    dock.cascade.combo.setCurrentText(BRIGHT)
    dock.cascade.combo.activated.emit(0)
    qtbot.waitUntil(lambda: dock.finder.form is not None, timeout=60_000)
    dock.finder.example.draw.click()
    layer = dock.finder.example.layers.layer
    layer.add_ellipses([[30, 30], [30, 46], [39, 46], [39, 30]])
    assert dock.finder.form.row("diameter_nm").value == pytest.approx(120, rel=0.01)
    labels = np.zeros((256, 256), np.uint8)
    labels[10:20, 10:20] = 3
    painted = viewer.add_labels(labels, name="one", scale=(NM, NM), units="nm")
    painted.selected_label = 3
    dock.finder.example.layers.choose(painted)
    assert dock.finder.form.row("diameter_nm").value == pytest.approx(113, rel=0.01)


def test_detect_takes_a_cascade_or_a_detector():
    from napari_connecto.core.errors import InputError
    from napari_connecto.workflows.recipes.entries.cascade import Detect
    from napari_connecto.workflows.shared.volume_spec import VolumeSpec

    given = {"volume": VolumeSpec("a.tif"), "out": "o"}
    for both in ({}, {"cascade": "c", "detector": "blobs"}):
        with pytest.raises(InputError, match="a search needs either a cascade or a detector; give one of them"):
            Detect(**given, **both)
    with pytest.raises(InputError, match="settings of a detector, but no detector"):
        Detect(**given, cascade="c", detector_shown="sigmoid")
    assert dataclasses.replace(Detect(**given, cascade="c"), cascade=None, detector="blobs").detector == "blobs"
