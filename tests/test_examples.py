"""The public functions' docstrings: every argument is described, and the examples give what they say."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import napari_connecto as nc
from napari_connecto.models.files import installed

VERBS = sorted({*nc.jobs.__all__, "estimate", "lazy", "tune_segmentation"})
SLOW = {
    "check_pair",
    "concepts",
    "detect",
    "fit_guard",
    "gate_check",
    "measure",
    "membranes",
    "train_cascade",
    "train_translator",
    "translate",
}
"""Their examples train a network, or run one on more than a few tiles."""


def section(name: str, title: str) -> str:
    """The text under a heading of a docstring; "" without that heading."""
    text = inspect.getdoc(getattr(nc, name)) or ""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\S+( \S+)?\n-+\n|\Z)", text, re.M | re.S)
    return found[1] if found else ""


def with_examples() -> list[str]:
    return [name for name in nc._HOMES if section(name, "Examples")]


@pytest.mark.parametrize("name", VERBS)
def test_every_argument_is_described_in_its_order(name):
    """Of functions that run long, with what is returned, what is raised, and an example."""
    listed = re.findall(r"^(\*{0,2}\w+(?:, \w+)*)$", section(name, "Parameters"), re.M)
    described = [word.lstrip("*") for line in listed for word in line.split(", ")]
    assert sorted(described) == sorted(inspect.signature(getattr(nc, name)).parameters)
    assert section(name, "Raises")
    assert section(name, "Examples")
    if name not in ("save_volume", "save_precomputed"):
        assert section(name, "Returns")


@pytest.mark.parametrize("name", nc.jobs.__all__)
def test_a_job_takes_what_its_function_takes(name):
    """Under the same names and with the same defaults, in front of what only a job takes."""
    function, job = (inspect.signature(getattr(where, name)).parameters for where in (nc, nc.jobs))
    shared = {key: value.replace(annotation=None) for key, value in job.items() if key in function}
    assert shared == {key: value.replace(annotation=None) for key, value in function.items()}
    own = [value for key, value in job.items() if key not in function]
    assert all(value.kind is inspect.Parameter.KEYWORD_ONLY for value in own)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW), id=n) for n in with_examples()]
)
def test_examples_give_what_they_say(name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if name == "save_precomputed":
        pytest.importorskip("tensorstore")
    monkeypatch.chdir(tmp_path)
    if installed():  # OpenVINO converts a network for a minute the first time
        monkeypatch.setattr("napari_connecto.models.files.installed", lambda: False)
    [example] = doctest.DocTestFinder(recurse=False).find(getattr(nc, name), name, globs={"nc": nc, "np": np})
    told: list[str] = []
    assert doctest.DocTestRunner().run(example, out=told.append).failed == 0, "".join(told)
