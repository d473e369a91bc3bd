"""Cards of models: what they show is what the ranking says; no viewer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.core.amounts import bytes_text
from napari_connecto.sample_data import list_models
from napari_connecto.widgets.adapt.choosing.pictures import coloured
from napari_connecto.widgets.adapt.choosing.told import Told, about_model, ratio_text
from napari_connecto.widgets.adapt.ranks import RankTable
from napari_connecto.workflows.adapt.agreement.rule import Score
from napari_connecto.workflows.adapt.ranking import Rank
from napari_connecto.workflows.shared.model_size import ModelSize


def test_a_picture_shows_each_segment_in_one_colour_and_no_segment_as_grey():
    image = np.full((40, 60), 100, np.uint8)
    image[:, 30:] = 200
    labels = np.zeros((40, 60), np.uint32)
    labels[:, :20] = 4
    made = coloured(image, labels, side=40)
    assert made.shape == (40, 40, 3)
    assert made.dtype == np.uint8
    inside, outside = made[:, :8], made[:, 12:]  # the middle 40 of 60 columns
    assert len(np.unique(inside.reshape(-1, 3), axis=0)) == 1
    assert (np.ptp(outside.astype(int), axis=2) == 0).all()
    assert np.ptp(inside[0, 0].astype(int)) > 0


def test_a_large_image_is_shown_by_every_third_voxel_of_its_middle():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (300, 300)).astype(np.uint8)
    assert coloured(image, np.zeros((300, 300), int), side=84).shape == (84, 84, 3)


def test_unknown_sizes_and_licences_are_said_to_be_unknown(tmp_path):
    assert Told("", "").line() == "licence unknown"
    assert Told("2×", "MIT").line() == "2× the voxel size · MIT"
    assert Told("2×", "MIT", size="4.9 MB").line() == "2× the voxel size · 4.9 MB · MIT"
    assert [ratio_text(v) for v in (1.0, 1.25, 12.4, float("nan"))] == ["1×", "1.2×", "12×", ""]
    assert Told.of(tmp_path, None).tooltip  # why it cannot be read


def test_size_and_licence_of_each_model_are_told_before_and_after_ranking(qtbot):
    """Law: cards and table say what the folder takes on disk; the table's tooltip has the parameters."""
    folders, unknown = list_models(), Score(float("nan"), 0, 0)
    names = [*folders, "gone"]
    table = RankTable()
    qtbot.addWidget(table)
    table.show_ranks([Rank(name, unknown, unknown, 1.0, False, "", "CC0") for name in names], 0.14, folders)
    titles = [table.horizontalHeaderItem(i).text() for i in range(table.columnCount())]
    column = titles.index("Size")
    assert titles[column + 1] == "Licence"
    shown = {table.item(i, 0).text(): table.item(i, column) for i in range(table.rowCount())}
    for name, folder in folders.items():
        size = ModelSize.of(folder)
        assert shown[name].text() == bytes_text(size.disk_bytes) == Told.of(folder, None).size
        assert shown[name].toolTip() == size.text()
        assert size.text() in about_model(folder)
    assert shown["gone"].text() == "?"
