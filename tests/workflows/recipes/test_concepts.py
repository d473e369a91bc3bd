"""The commands concepts and probe, from files to files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import napari_connecto as nc
from napari_connecto.core.errors import InputError
from napari_connecto.models.files import new_model
from napari_connecto.workflows.recipes.document import run_of
from tests.models.cards import card
from tests.workflows.inspect.concepts.test_concepts import CARD, NET, scene


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """An image, masks and scribbles, two checkpoints and two widths."""
    folder = tmp_path_factory.mktemp("concepts")
    image, masks = scene()
    nc.save_volume(image, folder / "image.ome.zarr")
    strokes = np.zeros_like(masks["discs"])
    strokes[0] = 1 + masks["discs"][0]
    for name, array in (("discs", masks["discs"]), ("strokes", strokes)):
        volume = nc.Volume.from_array(array, image.levels[0].voxel_nm, name=name, kind="labels")
        nc.save_volume(volume, folder / f"{name}.ome.zarr")
    for step in (5, 10):
        nc.save_model(new_model(CARD, step, device="cpu"), folder / f"trained/step-{step}")
    for width in (4, 6):
        model = new_model(card(NET | {"width": width}, (2, 32, 32), (0, 8, 8), stride=(1, 2, 2)), 0, device="cpu")
        nc.save_model(model, folder / f"sizes/width-{width}")
    return folder


def test_concepts_of_checkpoints_and_sizes(files):
    asked = {
        "workflow": "concepts",
        "volume": str(files / "image.ome.zarr"),
        "model": str(files / "trained"),
        "masks": str(files / "discs.ome.zarr"),
        "sizes": str(files / "sizes"),
        "out": str(files / "known"),
        "params": {"pixels": 2500, "block": 32, "autoencoder": False, "untrained": 1, "ablation": False},
    }
    summary = nc.run(run_of(asked).job(None))
    with (files / "known/concepts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["axis"], float(row["at"])) for row in rows} == {("step", 5), ("step", 10), ("width", 4), ("width", 6)}
    assert {row["concept"] for row in rows} == {"discs"}
    assert (summary.figures["checkpoints"], summary.figures["sizes"]) == (2, 2)
    assert any("average precision" in line for line in summary.lines)


def test_a_folder_without_sizes_is_refused(files):
    asked = {"workflow": "concepts", "volume": str(files / "image.ome.zarr"), "model": str(files / "trained/step-5")}
    asked |= {"masks": str(files / "discs.ome.zarr"), "sizes": str(files), "out": str(files / "none")}
    with pytest.raises(InputError, match="name ends in a number"):
        nc.run(run_of(asked).job(None))


def test_a_probe_is_a_model_that_predict_takes(files):
    out = files / "probe"
    asked = {"workflow": "probe", "volume": str(files / "image.ome.zarr"), "model": str(files / "trained/step-5")}
    asked |= {"scribbles": str(files / "strokes.ome.zarr"), "out": str(out)}
    summary = nc.run(run_of(asked).job(None))
    assert summary.figures["pixels"]["object"] == np.count_nonzero(scene()[1]["discs"][0])
    predict = {"workflow": "predict", "volume": str(files / "image.ome.zarr"), "model": str(out)}
    nc.run(run_of(predict | {"out": str(files / "map")}).job(None))
    scores = np.asarray(nc.open_volume(files / "map/object.zarr").levels[0].array[3]) / 255
    truth = scene()[1]["discs"][3] > 0
    assert scores[truth].mean() > scores[~truth].mean() + 0.2
    with pytest.raises(InputError, match="holds a model already"):
        nc.run(run_of(asked).job(None))
