"""JSON that any reader takes."""

from __future__ import annotations

import json
from math import inf, isnan, nan

import numpy as np
import pytest

from napari_connecto.core.documents import json_text, number
from napari_connecto.io.disk import plain, read_json, write_json


def strict(text: str):
    def refuse(word: str):
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_what_is_not_finite_is_null_however_deep_it_lies(tmp_path):
    value = {"interval": [nan, (1.5, -inf)], "of": np.array([np.nan, 2.0]), "at": np.float32("inf"), "word": "NaN"}
    wanted = {"interval": [None, [1.5, None]], "of": [None, 2.0], "at": None, "word": "NaN"}
    assert strict(json_text(value, default=plain)) == wanted
    write_json(tmp_path / "file.json", value)
    assert strict((tmp_path / "file.json").read_text()) == read_json(tmp_path / "file.json") == wanted


def test_null_is_read_as_nan_where_a_number_is_needed():
    assert isnan(number(None))
    assert (number(None, inf), number(2)) == (inf, 2.0)


def test_what_has_no_json_form_is_refused():
    circle: list = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        json_text(circle)
