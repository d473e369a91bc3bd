"""Laws of the registry, for every workflow: what a run asks for survives its recipe and its command, and is done.

A field that is forgotten anywhere between a form and the call fails here; a new field needs no new test.
"""

from __future__ import annotations

import ast
import dataclasses
import shlex
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_connecto import cli
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.params import REQUIRED
from napari_connecto.workflows import recipes
from napari_connecto.workflows.recipes.document import recipe_of, run_of
from napari_connecto.workflows.recipes.entries import ENTRIES
from napari_connecto.workflows.recipes.entries.leaves import Leaf, leaves
from napari_connecto.workflows.recipes.entries.run import Run
from napari_connecto.workflows.recipes.paths import whole_paths
from napari_connecto.workflows.recipes.recipe import read_run, write_recipe
from napari_connecto.workflows.recipes.words import command_line
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

ENTRY = pytest.mark.parametrize("kind", ENTRIES.values(), ids=ENTRIES)
EITHER = {
    "detect": ("cascade", "detector"),
    "train-cascade": ("labels", "points"),
    "fine-tune": ("before_label", "from_scratch"),
}
"""Fields that exclude each other: a run has the first, or the second."""
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
PLACES = st.sampled_from(["a b.tif", "é.zarr", "s3://bucket/key", "it's"])


@pytest.fixture
def read(monkeypatch):
    """The run that a command line asks for, without doing it."""
    asked: list[Run] = []
    for module in (cli.runs, cli.cascade):
        monkeypatch.setattr(module, "do_run", lambda run, how: asked.append(run))

    def read(line: str) -> Run:
        program, *words = shlex.split(line)
        assert program == "napari-connecto"
        cli.cli(words, standalone_mode=False)
        return asked.pop()

    return read


def values(leaf: Leaf) -> st.SearchStrategy[Any]:
    """What a value may be, in the types of recipes."""
    meta, hint = leaf.meta, leaf.hint
    if meta["choices"]:
        return st.sampled_from(meta["choices"])
    if meta["role"] == "session":
        return st.just(".")
    if meta["role"]:
        return PLACES
    box = st.tuples(*[st.integers(-9, 999)] * 6).map(list)
    if hint is Box:
        return box
    if hint == tuple[Box, ...]:
        return st.lists(box, min_size=1, max_size=3)
    if get_origin(hint) is tuple:
        return st.tuples(*(of_type(part, meta) for part in get_args(hint))).map(list)
    return of_type(hint, meta)


def of_type(hint: Any, meta: Any) -> st.SearchStrategy[Any]:
    low, high = meta["low"], meta["high"]
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(low, high) if low is not None else st.integers(0, 99)
    if hint is float:
        return st.floats(low, high, allow_nan=False, allow_infinity=False)
    if hint == int | str:
        return st.integers(0, 99) | st.just("all")
    assert hint is str
    return TEXT


def asked(kind: type[Run], left_out: str = "", always: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    """Recipes with a value in every place but ``left_out``, none of them the default; in some places if not always."""

    either = EITHER.get(kind.workflow, ())

    def place(leaf: Leaf) -> st.SearchStrategy[Any]:
        other = values(leaf).filter(lambda value: value != leaf.default)
        if leaf.path[-1] == "voxel_nm":
            other = other.filter(any)  # 0 0 0 is no size, but the shell's word for what the labels state
        needed = leaf.path[-1] == "path" or leaf.default is REQUIRED or leaf.path in [(name,) for name in either]
        return other if always or needed else st.none() | other

    def recipe(told: dict[tuple[str, ...], Any]) -> dict[str, Any]:
        made: dict[str, Any] = {"workflow": kind.workflow}
        for path, value in told.items():
            inner = made
            for name in path[:-1]:
                inner = inner.setdefault(name, {})
            if value is not None:
                inner[path[-1]] = value
        return made

    # a detector has no previous cascade, and its settings go with it
    detector = ("detector", "detector_options", "detector_output", "detector_shown")
    with_it = {"labels": ("review", "previous"), "points": detector, "detector": detector}
    absent = (left_out, *with_it.get(left_out, ()))
    there = [leaf for leaf in leaves(kind) if leaf.path[0] not in absent]
    return st.fixed_dictionaries({leaf.path: place(leaf) for leaf in there}).map(recipe)


def whole(kind: type[Run]) -> st.SearchStrategy[dict[str, Any]]:
    """Recipes with a value in every place that may have one at once."""
    return st.one_of(*(asked(kind, out) for out in EITHER.get(kind.workflow, ("",))))


few = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
one = settings(few, max_examples=1)  # has a value in every place


@ENTRY
def test_a_run_is_the_same_from_its_recipe_and_its_command(kind, read):
    @given(whole(kind) | asked(kind, EITHER.get(kind.workflow, ("", ""))[1], always=False))
    @few
    def law(recipe):
        run = run_of(recipe)
        assert run_of(yaml.safe_load(yaml.safe_dump(recipe_of(run)))) == run
        again = read(command_line(run))
        assert again == run
        assert recipe_of(again) == recipe_of(run)

    law()


@ENTRY
def test_no_value_of_a_recipe_is_lost(kind):
    """Each value that a recipe states is that of the run."""

    @given(whole(kind))
    @one
    def law(recipe):
        run = run_of(recipe)
        for leaf in leaves(kind):
            value: Any = recipe
            for name in leaf.path:
                value = value.get(name, {})
            found = leaf.of(run)
            found = [*found.start, *found.stop] if isinstance(found, Box) else found
            if leaf.hint == tuple[Box, ...]:
                found = [[*box.start, *box.stop] for box in found]
            assert value == {} or value == (list(found) if isinstance(found, tuple) else found), leaf.path

    law()


@ENTRY
def test_every_field_is_read_by_what_does_it(kind):
    """By a function of `recipes` that takes such a run."""
    used = set()
    for path in Path(recipes.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and kind.__name__ in _takes(node):
                names = [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
                used |= {name.attr for name in names if name.value.id == "run"}
    assert {field.name for field in dataclasses.fields(kind)} <= used


def _takes(function: ast.FunctionDef) -> set[str]:
    """Names in the annotation of its argument ``run``."""
    hints = [ast.unparse(a.annotation) for a in function.args.args if a.arg == "run" and a.annotation is not None]
    return {name.strip().removeprefix("entries.") for hint in hints for name in hint.split("|")}


@ENTRY
def test_a_written_recipe_has_whole_paths_and_asks_for_the_same(kind, tmp_path):
    @given(whole(kind))
    @one
    def law(recipe):
        run = run_of(recipe)
        write_recipe(run, tmp_path / "recipe.yaml")
        assert read_run(tmp_path / "recipe.yaml") == whole_paths(run)
        assert whole_paths(whole_paths(run)) == whole_paths(run)

    law()


@ENTRY
def test_options_have_one_meaning_each(kind):
    names = [leaf.option for leaf in leaves(kind)]
    assert len(set(names)) == len(names)


def test_a_pair_of_volumes_is_only_shifted_where_that_is_said(read):
    for words in ("--no-affine", "--shift-only"):
        assert read(f"napari-connecto pair a b --out o {words}").params.affine is False
        assert read(f"napari-connecto train-translator a b --out o {words}").pairing.affine is False
    assert read("napari-connecto train-translator a b --out o").pairing.affine is True


def test_labels_take_the_voxel_size_that_is_given_for_the_image_unless_they_have_their_own(read):
    train = "napari-connecto train-cascade a.tif --out o --labels b.tif"
    assert read(train).labels == VolumeSpec("b.tif")
    assert read(f"{train} --voxel-nm 40 8 8").labels == VolumeSpec("b.tif", voxel_nm=(40, 8, 8))
    assert read(f"{train} --voxel-nm 40 8 8 --labels-voxel-nm 40 16 16").labels.voxel_nm == (40, 16, 16)
    assert read(f"{train} --voxel-nm 40 8 8 --labels-voxel-nm 0 0 0").labels.voxel_nm is None
    assert read("napari-connecto pair a.tif b.tif --out o --voxel-nm 40 8 8").em == VolumeSpec("b.tif")


def test_a_threshold_that_is_not_given_is_left_to_the_model(read):
    assert read("napari-connecto segment a --out o").params.values == {}
    given = read("napari-connecto segment a --out o --merge-threshold 0.5").params  # the default, but said
    assert given.values == {"merge_threshold": 0.5}


def test_a_field_is_understood_by_its_older_name(read):
    search = "napari-connecto detect a --cascade c --out o"
    recipe = {"workflow": "detect", "volume": "a", "cascade": "c", "out": "o"}
    for old, value in (("gate", "off"),):
        assert read(f"{search} --{old} {value}") == run_of(recipe | {"params": {old: value}})
    assert read(f"{search} --gate off").params.ood_check == "off"
    assert "--gate" not in CliRunner().invoke(cli.cli, ["detect", "--help"]).output


def test_a_file_whose_name_begins_like_an_option_is_a_file(read):
    run = run_of({"workflow": "rank", "volume": "-a.tif"})
    assert read(command_line(run)).volume.path == "./-a.tif"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"workflow": "fine-tune", "session": "s", "from_scratch": True, "before_label": "adabn"}, "untrained model"),
        ({"workflow": "train-cascade"}, "labels, points or a detector"),
        ({"workflow": "train-cascade", "labels": "a", "points": "b"}, "needs either labels or points"),
        ({"workflow": "train-cascade", "labels": "a", "detector_output": "b"}, "but no detector"),
        ({"workflow": "train-cascade", "points": "b", "review": "c"}, "points have their own verdicts"),
        ({"workflow": "segment", "tile": [1, 32]}, "got tile=\\(1, 32\\); it must be 3 numbers"),
        ({"workflow": "segment", "tile": [0, 32, 32]}, "got tile="),
        ({"workflow": "segment", "region": [0, 0, 0]}, "six numbers: z0 y0 x0 z1 y1 x1"),
        ({"workflow": "segment", "backend": "abacus"}, "allowed: auto, torch, openvino"),
    ],
)
def test_what_does_not_fit_is_refused(recipe, message):
    with pytest.raises(InputError, match=message):
        run_of(
            {"volume": "v", "model": "m", "out": "o"} | recipe
            if recipe["workflow"] != "train-cascade"
            else {"volume": "v", "out": "o"} | recipe
        )
