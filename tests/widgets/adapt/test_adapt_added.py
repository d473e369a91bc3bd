"""A model of bioimage.io in the dock: ranked beside the others, chosen, and its segments shown."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("bioimageio.spec", reason="the extra 'bioimageio' is not installed")

from napari_connecto.io.packages.collection import VARIABLE
from napari_connecto.workflows.adapt.params import RankParams
from napari_connecto.workflows.packages.add_model import add_model
from napari_connecto.workflows.segment.params import SegmentParams
from tests import collection
from tests.widgets.adapt_steps import settle

pytestmark = pytest.mark.gl


@pytest.fixture
def added(files, tmp_path, monkeypatch):
    """A user whose own library holds one downloaded model; beside it, a folder with two trained domains."""
    monkeypatch.setenv("NAPARI_CONNECTO_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE", str(tmp_path / "cache"))
    with collection.served({"tiny-fly": collection.published(collection.dark(8.0))}) as server:
        monkeypatch.setenv(VARIABLE, server.pattern)
        folder = add_model("bioimage.io:tiny-fly")
    shutil.copytree(files[2], tmp_path / "library")
    shutil.copytree(folder, tmp_path / "library/tiny-fly")
    return tmp_path / "library"


def test_a_model_that_was_added_is_listed_beside_the_shipped_ones(added, dock, qtbot):
    dock.choose.use_library(None)
    qtbot.waitUntil(lambda: "fly-medulla" in dock.choose.folders, timeout=10000)
    assert "tiny-fly" in dock.choose.folders
    assert dock.choose.choice.findText("tiny-fly") >= 0


def test_a_package_is_ranked_chosen_and_its_segments_are_shown(added, dock, viewer, qtbot):
    dock.choose.use_library(added)
    qtbot.waitUntil(lambda: "tiny-fly" in dock.choose.folders, timeout=10000)
    dock.choose.form.value = RankParams(places=2, place=96, patches=20, patch=64, permutations=100)
    dock.choose.bar.button.click()
    settle(dock.choose.bar, qtbot)
    ranking, table = dock.choose.ranking, dock.choose.table
    row = next(i for i in range(table.rowCount()) if table.item(i, 0).text() == "tiny-fly")
    rank = ranking.ranks[row]
    assert [table.item(row, j).text() for j in (1, 2, 6)] == [
        f"{rank.consensus.value:.2f}", f"{100 * rank.instability.value:.0f} %", "MIT"
    ]  # fmt: skip
    assert rank.consensus.value > 0
    dock.choose.answers.click()
    layer = next(layer for layer in dock.choose.panels.layers if layer.name == "tiny-fly segments")
    shown = np.asarray(layer.data).squeeze()
    np.testing.assert_array_equal(shown, ranking.answers["tiny-fly"].labels[0])
    assert len(np.unique(shown)) > 1
    dock.choose.choose("tiny-fly")
    assert dock.headings[0].text() == "1 Choose: tiny-fly"
    assert "Cite: Nowhere https://doi.org/10.1000/xyz123" in dock.choose.about.text()
    dock.go_to(5)
    dock.segment.form.value = SegmentParams(mode="2d", block=(8, 128, 128))
    dock.segment.where.setCurrentText("Everywhere")
    dock.segment.bar.button.click()
    settle(dock.segment.bar, qtbot)
    made = viewer.layers["segments-1"]
    assert len(np.unique(np.asarray(made.data if not made.multiscale else made.data[0]))) > 20
