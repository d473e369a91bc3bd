"""The dock "Inspect a model" on two small sections and a library that learnt next to nothing."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.inspect.missed.params import MissedParams

FEW = MissedParams(tiles=1, exact=6, draws=1)


@pytest.fixture(scope="module")
def images(files):
    """One section of the neuropil, faint and clear, as volumes of one level."""
    level = open_volume(files[0]).levels[0]
    clear = np.asarray(level.read(Box((0, 0, 0), (1, 128, 128))))
    faint = (clear * 0.3 + 100).astype(clear.dtype)
    faint[:, :2, :2], faint[:, -2:, -2:] = 0, 255  # the same range, so that percentiles leave it faint
    return tuple(Volume((Level(a, level.voxel_nm),), name=n) for a, n in ((faint, "faint"), (clear, "clear")))


@pytest.fixture
def dock(files, images, viewer, qtbot, monkeypatch, tmp_path):
    """The dock with both sections as layers; the faint one is chosen."""
    from napari_connecto.widgets.inspect import dock as inspect_dock
    from napari_connecto.widgets.inspect import smaller as smaller_tab
    from napari_connecto.widgets.inspect import trust as trust_tab
    from napari_connecto.widgets.viewer.show import layer_data

    for tab in (trust_tab, smaller_tab):
        monkeypatch.setattr(tab, "output_folder", lambda: tmp_path / "results")
    for volume in images:
        data, keywords, _ = layer_data(volume)
        viewer.add_image(data, **keywords)
    widget = inspect_dock.InspectWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Inspect a model")
    for name in ("far", "near"):
        widget.model.use(files[2] / name)
    widget.image.layers.choose(viewer.layers["faint"])
    qtbot.waitUntil(lambda: widget.image.full is not None and not widget.image.opening, timeout=10_000)
    widget.missed.form.value = FEW
    yield widget
    widget.close_jobs()


@pytest.fixture
def clear(dock, viewer, qtbot):
    """The clear image chosen and in view."""
    dock.image.layers.choose(viewer.layers["clear"])
    qtbot.waitUntil(lambda: dock.image.full is not None and not dock.image.opening, timeout=10_000)
    viewer.reset_view()
    return viewer.layers["clear"]
