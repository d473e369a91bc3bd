"""A law: what a dock or a recipe says as a command line, the command line reads back as the very same params."""

from __future__ import annotations

import dataclasses
import shlex
import typing
from types import NoneType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_connecto import cli
from napari_connecto.core.params import from_mapping, option_words
from napari_connecto.widgets.shared.commands import volume_words
from napari_connecto.workflows.adapt import params as adapt_params
from napari_connecto.workflows.cascade import params
from napari_connecto.workflows.recipes.recipe import read_recipe, write_recipe
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.xray import params as xray_params
from napari_connecto.workflows.xray import translate_params

MODULES = {"adapt": cli.adapt, "cascade": cli.cascade, "translate": cli.translate, "xray": cli.xray}
KINDS = [
    kind
    for module in (params, adapt_params, translate_params, xray_params)
    for kind in vars(module).values()
    if dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__
]
OF = {
    params.DetectParams: ["detect", "--cascade", "c"],
    params.TrainParams: ["train-cascade", "--labels", "l"],
    SegmentParams: ["segment"],
    adapt_params.SuggestParams: ["suggest", "--model", "m"],
    adapt_params.RankParams: ["rank"],
    adapt_params.FineTuneParams: ["fine-tune", "--model", "m", "--session", "."],
    adapt_params.DomainParams: ["domains", "train", "name", "path", "labels"],
    adapt_params.PrepareParams: ["prepare", "--model", "m", "--how", "adabn"],
    translate_params.TranslatorParams: ["train-translator", "path", "em"],
    translate_params.TranslateParams: ["translate", "--translator", "t"],
    xray_params.XrayParams: ["simulate-xray"],
    xray_params.PairParams: ["pair", "path", "em"],
}
ALIAS = {xray_params.XrayParams: "--xray-voxel-nm", xray_params.PairParams: "--grid-nm"}
"""Where ``--voxel-nm`` is the size of what is read, the field ``voxel_nm`` has an option of another name."""


@pytest.fixture
def read(monkeypatch):
    """The recipe that a command line ends in, without doing it."""
    told: list[dict] = []
    for module in MODULES.values():
        monkeypatch.setattr(module, "run_recipe", lambda recipe, *_: told.append(recipe))

    def read(words):
        cli.cli([*words, "--out", "o"], standalone_mode=False)
        return told.pop()

    return read


def values(field, hint):
    """Everything that a field may hold."""
    meta, inner = field.metadata, [a for a in typing.get_args(hint) if a is not NoneType]
    if NoneType in typing.get_args(hint):
        return st.none() | values(field, inner[0])
    if typing.get_origin(hint) is tuple:
        return st.tuples(*(values(field, part) for part in inner))
    if meta["choices"]:
        return st.sampled_from(meta["choices"])
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(meta["low"], meta["high"])
    if hint is float:
        return st.floats(meta["low"], meta["high"], allow_nan=False)
    assert hint is str
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def some(kind):
    hints = typing.get_type_hints(kind)
    fields = {f.name: st.just(f.default) | values(f, hints[f.name]) for f in dataclasses.fields(kind) if f.metadata}
    return st.builds(kind, **fields)


def told(kind, values):
    """A command that does what params say."""
    words = option_words(kind, values)
    if kind in ALIAS:
        words = [ALIAS[kind] if word == "--voxel-nm" else word for word in words]
    path = [] if OF[kind][-1] in ("em", "labels") else ["path"]
    return shlex.split(shlex.join([*OF[kind], *path, *words]))


def test_every_kind_of_params_has_a_command():
    assert set(OF) == set(KINDS)


@pytest.mark.parametrize("kind", OF, ids=lambda kind: kind.__name__)
def test_a_command_line_says_its_params_whole(kind, read, tmp_path):
    @given(some(kind))
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def law(given):
        recipe = read(told(kind, dataclasses.asdict(given)))
        assert from_mapping(kind, recipe["params"]) == given
        write_recipe({"workflow": "rank", "params": recipe["params"]}, tmp_path / "r.yaml")
        kept = read_recipe(tmp_path / "r.yaml")["params"]
        assert from_mapping(kind, kept) == given
        assert from_mapping(kind, read(told(kind, kept))["params"]) == given

    law()


@pytest.mark.parametrize("kind", OF, ids=lambda kind: kind.__name__)
def test_a_switch_goes_both_ways(kind, read):
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if hints[field.name] is bool:
            flag = field.name.replace("_", "-")
            assert read([*told(kind, {}), f"--{flag}"])["params"].get(field.name) is True
            assert read([*told(kind, {}), f"--no-{flag}"])["params"].get(field.name) is False


def test_a_pair_of_volumes_is_only_shifted_where_that_is_said(read):
    translator = ["train-translator", "path", "em"]
    for words in (["--no-affine"], ["--shift-only"]):
        assert read(["pair", "path", "em", *words])["params"]["affine"] is False
        assert read([*translator, *words])["pairing"]["affine"] is False
    assert read(translator)["pairing"]["affine"] is True
    assert read([*translator, "--largest-shift-nm", "5000"])["pairing"]["largest_shift_nm"] == 5000


@given(st.tuples(*[st.floats(1e-3, 1e7)] * 3), st.booleans(), st.sampled_from(["-a.tif", "a b.tif"]))
@settings(max_examples=20, deadline=None)
def test_a_volume_is_the_same_in_a_command_line(size, invert, path):
    with pytest.MonkeyPatch.context() as patch:
        recipes: list[dict] = []
        patch.setattr(cli.adapt, "run_recipe", lambda recipe, *_: recipes.append(recipe))
        spec = {
            "path": path,
            "voxel_nm": size,
            "array": "/raw",
            "channel": 2,
            "time": 1,
            "axes": "czyx",
            "invert": invert,
        }
        cli.cli(["rank", *shlex.split(shlex.join(volume_words(spec)))], standalone_mode=False)
    found = recipes[0]["volume"]
    assert found.pop("path").removeprefix("./") == path
    assert found.pop("invert", False) is invert
    assert found == {"voxel_nm": list(size), "array": "/raw", "channel": 2, "time": 1, "axes": "czyx"}
