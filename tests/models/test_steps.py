from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_connecto.core.errors import ModelError
from napari_connecto.core.model import Normalisation
from napari_connecto.core.volume import Volume
from napari_connecto.models.imported.steps import apply, dtype_after, pointwise, split

RANGE = {"id": "scale_range", "min_percentile": 2.0, "max_percentile": 98.0}
IMAGE = np.random.default_rng(0).normal(3, 2, (2, 2, 1, 4, 5)).astype(np.float32)
SHIFT = np.array([1, -1], np.float32)[:, None, None, None]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"id": "scale_linear", "gain": 2.0, "offset": -1.0}, IMAGE * 2 - 1),
        ({"id": "scale_linear", "axis": "c", "gain": [1, 1], "offset": [1, -1]}, IMAGE + SHIFT),
        ({"id": "fixed_zero_mean_unit_variance", "mean": 3.0, "std": 2.0}, (IMAGE - 3) / 2),
        ({"id": "clip", "min": 1.0, "max": None}, np.maximum(IMAGE, 1)),
        ({"id": "binarize", "threshold": 3.0}, IMAGE > 3),
        ({"id": "sigmoid"}, 1 / (1 + np.exp(-IMAGE))),
        ({"id": "softmax", "axis": "c"}, np.exp(IMAGE) / np.exp(IMAGE).sum(1, keepdims=True)),
        ({"id": "ensure_dtype", "dtype": "uint8"}, np.clip(np.trunc(IMAGE), 0, 255)),
        ({"id": "ensure_dtype", "dtype": "bool"}, IMAGE != 0),
    ],
)
def test_steps_are_their_formulas(step: dict[str, Any], expected: np.ndarray) -> None:
    got = apply(pointwise([step], "preprocessing"), IMAGE)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_the_type_the_network_gets_is_that_of_the_last_step() -> None:
    assert dtype_after([{"id": "sigmoid"}, {"id": "ensure_dtype", "dtype": "uint8"}]) == "uint8"
    assert dtype_after([{"id": "ensure_dtype", "dtype": "uint8"}, {"id": "sigmoid"}]) == "float32"


@pytest.mark.parametrize("axes", [None, "zyx", "czyx", "bczyx"])
def test_statistics_of_the_whole_image_are_left_to_the_volume(axes: str | None) -> None:
    clip = {"id": "clip", "min": 0.0, "max": 1.0}
    assert split([{**RANGE, "axes": axes}, clip], "bczyx", 1) == (Normalisation("percentile", 2.0, 98.0), [clip])
    standard, rest = split([{"id": "zero_mean_unit_variance", "axes": axes, "eps": 1e-6}], "bczyx", 1)
    assert (standard.kind, rest) == ("standard", [])
    assert split([clip], "bczyx", 1) == (Normalisation("none"), [clip])


def test_standard_is_mean_and_deviation_of_the_finest_level() -> None:
    scaling = Normalisation("standard").resolve(Volume.from_array(IMAGE[0, 0], (1, 1, 1)))
    assert scaling.offset == pytest.approx(IMAGE[0, 0].mean(), rel=1e-6)
    assert scaling.scale == pytest.approx(IMAGE[0, 0].std(), rel=1e-6)
    assert Normalisation("standard").resolve(Volume.from_array(np.ones((1, 2, 2)), (1, 1, 1))).scale == 1.0


@pytest.mark.parametrize(
    ("steps", "channels", "match"),
    [
        ([{**RANGE, "axes": "yx"}], 1, "'scale_range' over the axes 'yx' of 'bczyx'; allowed: the whole image"),
        ([{**RANGE, "axes": "zyx"}], 2, "over the axes 'zyx'"),
        ([{"id": "sigmoid"}, RANGE], 1, "'scale_range' by statistics in the preprocessing"),
        ([{"id": "clip", "min_percentile": 1.0}], 1, "'clip' by statistics"),
        ([{"id": "scale_mean_variance"}], 1, "'scale_mean_variance' in the preprocessing; supported: binarize"),
        ([{"id": "scale_linear", "axis": "z", "gain": [1]}], 1, "'scale_linear' in the preprocessing"),
        ([{"id": "ensure_dtype", "dtype": "complex64"}], 1, "type complex64 in"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(steps: list[dict[str, Any]], channels: int, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        split(steps, "bczyx", channels)
