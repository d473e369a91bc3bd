"""Pages of guard checks and of smaller models: their figures, their warnings, and pictures of the worst place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import write_json
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.reports.write import write_report
from napari_connecto.workflows.inspect.guard.check import check_pair
from napari_connecto.workflows.inspect.guard.params import CheckParams
from tests.reports.test_report import keys, words
from tests.workflows.inspect.guard.test_guard import NM, answer, guard, image


def checked(folder: Path, hole: Box | None) -> list[str]:
    """A check of an answer with a hole, of an image in a file; its lines."""
    save_volume(Volume.from_array(image(), NM, name="blobs"), folder / "blobs.ome.zarr")
    volume = open_volume(folder / "blobs.ome.zarr")
    spoilt = answer(Volume.from_array(image(), NM, name="blobs"), hole)
    save_volume(spoilt, folder / "foreground.ome.zarr")
    params = CheckParams(places=3)
    return check_pair(
        volume, open_volume(folder / "foreground.ome.zarr"), guard(), params, out=folder / "check"
    ).lines()


def test_a_check_shows_its_worst_place_on_the_image(tmp_path):
    lines = checked(tmp_path, Box((1, 100, 40), (2, 148, 88)))
    page = write_report(tmp_path / "check")
    text = words(page)
    assert "Is the answer of &#39;blobs&#39; right?" in text
    assert lines[0].partition(" (")[0] in text
    assert "white is certainly wrong, frames are worst places" in text
    assert "The input is not shown" not in text
    assert page.read_text(encoding="utf-8").count("data:image/jpeg") == 1
    assert "1 60 992 512" in text  # z, y, x in nm of the worst: the middle of the hole


def test_a_right_answer_has_no_worst_place_and_no_warning(tmp_path):
    checked(tmp_path, None)
    page = write_report(tmp_path / "check")
    assert keys(page)[0].startswith("green ")
    assert "check before relying on it" not in words(page)


def smaller(folder: Path, speedup: float) -> Path:
    """Figures of a smaller model."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "card.json").write_text("{}")
    agreement = {"dice": 0.912, "difference": 0.02, "vi_between": 0.2, "vi": [[1.0, 1.25]]}
    told = {
        "how": "channels",
        "params": {"sparsity": 0.5},
        "weights": [1000000, 250000],
        "stored_bytes": [4000000, 1000000],
        "seconds_per_tile": [0.1, 0.1 / speedup],
        "speedup": speedup,
        "places": [24, 12],
        "agreement": agreement,
        "vi": [1.0, 1.25],
        "tiles": [0.001, None],
        "controls": {"magnitude": {"sparsity": 0.5, "copies": 1, "layer_error": 0.2, "agreement": agreement}},
        "lines": ["250,000 of 1,000,000 weights remain", "2 x as fast"],
    }
    write_json(folder / "prune.json", told)
    return folder


def test_a_smaller_model_stands_beside_the_original(tmp_path):
    page = write_report(smaller(tmp_path / "small", 2.0))
    assert [key.split(" ")[0] for key in keys(page)] == ["2", "25", "0.912", "1.25"]
    text = words(page)
    assert "time of a tile, ms 100 50" in text
    assert "weights 1 000 000 250 000" in text
    assert "VI to held-out labels, bits 1 1.25" in text
    assert "magnitude 50 % 1 0.2 0.912" in text
    assert "It is not faster" not in text


def test_a_model_that_is_no_faster_is_said_to_be_none(tmp_path):
    assert "It is not faster than the original on this machine" in words(write_report(smaller(tmp_path / "s", 1.0)))


def test_a_check_without_its_image_says_so(tmp_path):
    checked(tmp_path, Box((1, 100, 40), (2, 148, 88)))
    (tmp_path / "blobs.ome.zarr").rename(tmp_path / "elsewhere.ome.zarr")
    text = words(write_report(tmp_path / "check"))
    assert "The input is not shown" in text
    assert np.isfinite(open_volume(tmp_path / "check" / "error.zarr").levels[0].array[:]).all()
