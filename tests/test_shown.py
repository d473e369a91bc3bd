"""Results in a notebook: a few lines, a small table, a picture where it is cheap; never a wall of numbers."""

from __future__ import annotations

import base64
import dataclasses
import io
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

import napari_connecto
from napari_connecto.core.errors import ChunkError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.detections import Detections

WALLS = ("ndarray", "Volume", "Level", "Mapping", "Predictor", "dict", "Sequence")
MODULES = sorted({f"napari_connecto.{home}" for home in napari_connecto._HOMES.values()})
INPUTS = ("Params", "Samples", "Options")


def results():
    """The dataclasses of the modules that public names live in, and what else is shown, whose fields may be long."""
    found = {}
    for module in map(import_module, MODULES):
        for name, kind in vars(module).items():
            if dataclasses.is_dataclass(kind) and isinstance(kind, type) and not name.startswith("_"):
                fields = " ".join(str(field.type) for field in dataclasses.fields(kind))
                public = kind.__module__ in MODULES or hasattr(kind, "_repr_html_")
                if public and any(wall in fields for wall in WALLS) and not name.endswith(INPUTS):
                    found[f"{kind.__module__}.{name}"] = kind
    return found


WILD = [
    np.zeros((1000, 3)),
    "long " * 500,
    {f"key {n}": np.ones((40, 40)) for n in range(200)},
    tuple(np.arange(1000.0)),
    [{"a": [np.zeros(5)] * 50}] * 100,
    float("nan"),
    None,
    Volume.from_array(np.zeros((4, 8, 8), np.uint8), (40, 4, 4)),
    {"nested": {"more": {"and": list(range(10_000))}}},
]


@pytest.mark.parametrize("name", sorted(results()))
def test_no_result_is_a_wall_of_text(name):
    kind = results()[name]
    assert hasattr(kind, "_repr_html_"), f"put @shown above {name}"
    for turn in range(len(WILD)):
        wild = object.__new__(kind)
        for n, field in enumerate(dataclasses.fields(kind)):
            object.__setattr__(wild, field.name, WILD[(n + turn) % len(WILD)])
        if kind not in (Volume, Level, Detections):  # these say more than their fields
            assert len(repr(wild)) < 1000
            assert "array(" not in repr(wild)
            assert repr(wild).startswith(kind.__name__)
            page = wild._repr_html_()
            assert page.startswith(f"<b>{kind.__name__}</b><table>")
            assert len(page) < 6000


def pyramid(source=None):
    fine = np.random.default_rng(0).integers(0, 255, (8, 64, 48), np.uint8) if source is None else source
    coarse = np.tile(np.linspace(10, 90, 24).astype(np.uint8), (8, 32, 1))
    return Volume((Level(fine, (40, 4, 4)), Level(coarse, (40, 8, 8))), name="em <1>")


def test_a_volume_says_its_levels_and_shows_its_coarsest():
    text, page = repr(pyramid()), pyramid()._repr_html_()
    assert text == (
        "Volume(name: em <1>, kind: image, uint8, level 0: 8 x 64 x 48 voxels of 40 x 4 x 4 nm, "
        "level 1: 8 x 32 x 24 voxels of 40 x 8 x 8 nm)"
    )
    assert "<th>level 1</th><td>8 x 32 x 24 voxels of 40 x 8 x 8 nm</td>" in page
    assert "em &lt;1&gt;" in page
    picture = Image.open(io.BytesIO(base64.b64decode(page.partition("base64,")[2].partition('"')[0])))
    assert picture.size == (24, 32)
    assert np.asarray(picture)[0, [0, -1]].tolist() == [0, 255]


def test_what_is_large_or_cannot_be_read_has_no_picture():
    class Broken:
        shape, dtype = (4, 8, 8), np.dtype(np.uint8)

        def __getitem__(self, _):
            raise ChunkError("damaged")

    large = Volume.from_array(np.zeros((4, 1024, 1024), np.uint8), (4, 4, 4))
    for volume in (large, Volume.from_array(Broken(), (4, 4, 4))):
        assert "<img" not in volume._repr_html_()
        assert "level 0" in volume._repr_html_()


def test_detections_say_how_many_and_where():
    centres = np.array([[40.0, 4, 4], [80, 8, 8], [120, 12, 12]])
    found = Detections(centres, np.array([0.5, 0.91, 0.7]), np.zeros((3, 6), int), np.arange(2))
    found.status[1] = "accepted"
    assert repr(found) == "Detections(objects: 3, reviewed: 1 accepted, 0 rejected, score: 0.5 to 0.91)"
    page = found._repr_html_()
    assert "<tr><th>object 2</th><td>score 0.91 at z y x 80, 8, 8 nm, accepted</td></tr>" in page
    assert repr(Detections.empty()) == "Detections(objects: 0)"
