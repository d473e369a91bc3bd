"""Options and habits that all commands share; options come from the fields of runs and of the workflows' params."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_origin

import click

from napari_connecto.cli.bar import Bar
from napari_connecto.core.documents import json_text
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, progress_line, run
from napari_connecto.core.params import REQUIRED, flag
from napari_connecto.workflows.recipes.entries.cascade import Detect
from napari_connecto.workflows.recipes.entries.leaves import Leaf, leaves
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

SHIFT_ONLY = {"affine": " /--shift-only"}
"""The older spelling of ``--no-affine``; click takes what follows the slash for the switch that turns it off."""

PROGRESS_OPTION: dict[str, Any] = {
    "type": click.Choice(["bar", "json", "none"]),
    "default": "bar",
    "help": "How to show progress.",
}
PROGRESS = click.option("--progress", **PROGRESS_OPTION)


def parameters(leaf: Leaf) -> list[click.Parameter]:
    """The argument or option of a value; its older spellings are hidden options, see `value_of`."""
    if leaf.argument:
        return [click.Argument([leaf.option])]
    older = [dataclasses.replace(leaf, option=name, default=None, hidden=True) for name in leaf.meta.get("old", ())]
    made = (_declared(each) for each in (leaf, *older))
    return [click.Option(words, **attributes) for words, attributes in made]


def _declared(leaf: Leaf) -> tuple[list[str], dict[str, Any]]:
    """What click needs to make an option."""
    meta, name, hint = leaf.meta, flag(leaf.option), leaf.hint
    text = meta["help"] + (f" [{meta['unit']}]" if meta["unit"] else "")
    shared: dict[str, Any] = {"help": text, "hidden": leaf.hidden}
    if leaf.default is REQUIRED:
        shared["required"] = True
    else:
        shared |= {"default": leaf.default, "show_default": leaf.default not in (None, "", ())}
    if hint is bool:  # a switch that can be turned both ways
        also = SHIFT_ONLY.get(leaf.option)
        return [f"{name}/{flag(f'no_{leaf.option}')}", *([also] if also else []), leaf.option], shared
    if hint in (Box, tuple[Box, ...]):
        many = {"multiple": hint is not Box}
        return [name, leaf.option], shared | many | {"type": int, "nargs": 6, "metavar": "Z0 Y0 X0 Z1 Y1 X1"}
    parts = get_args(hint) if get_origin(hint) is tuple else ()
    if parts:
        shared |= {"nargs": len(parts), "metavar": " ".join("ZYX"[-len(parts) :])}
    return [name, leaf.option], shared | {"type": _type(parts[0] if parts else hint, meta)}


def _type(kind: Any, meta: Mapping[str, Any]) -> Any:
    if meta["choices"]:
        return click.Choice(meta["choices"])
    if meta["role"] == "session":
        return click.Path(exists=True, file_okay=False)
    if meta["role"] in ("out", "folder", "input"):
        return click.Path()
    if kind in (int, float) and (meta["low"] is not None or meta["high"] is not None):
        return (click.IntRange if kind is int else click.FloatRange)(meta["low"], meta["high"])
    return kind if kind in (int, float) else str


def value_of(leaf: Leaf, options: Mapping[str, Any]) -> Any:
    """What a command line gives a value, in the types of recipes; None where it says nothing of it."""
    given = (options.get(name) for name in (*leaf.meta.get("old", ()), leaf.option))
    value = next((each for each in given if each is not None), None)
    if leaf.hint == int | str and isinstance(value, str) and value.isdecimal():
        return int(value)
    if leaf.hint == tuple[Box, ...]:
        return [list(box) for box in value or ()] or None
    return list(value) if isinstance(value, tuple) else value


VOLUME = [leaf for leaf in leaves(Detect) if leaf.path[0] == "volume" and not leaf.argument]
"""How a volume is opened, the same for every workflow."""


def volume_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `VOLUME`, for commands that are no workflow."""
    for leaf in reversed(VOLUME):
        words, attributes = _declared(leaf)
        function = click.option(*words, **attributes)(function)
    return function


def volume_spec(path: str, options: dict[str, Any]) -> VolumeSpec:
    """The volume at ``path``; takes its options out of ``options``."""
    values = {leaf.option: value_of(leaf, options) for leaf in VOLUME}
    for name in values:
        del options[name]
    return VolumeSpec.of({"path": path, **values})


def drive(job: Job[Any], progress: str) -> Any:
    """Run a job with one bar on stderr, or as JSON lines on stdout for another program."""
    if progress == "json":
        return run(job, lambda p: print(progress_line(p), flush=True))
    if progress == "none":
        return run(job)
    with Bar() as bar:
        return run(job, bar.show)


def ask(question: str) -> None:
    """Go on only if the user says yes.

    Raises
    ------
    InputError
        If there is no terminal to ask on.
    """
    try:
        click.confirm(question, abort=True)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):
            raise InputError("no terminal to ask for confirmation; give --yes") from error
        raise


def finish(told: Mapping[str, Any], progress: str, more: Sequence[str] = ()) -> None:
    """Print what came of a command: its ``lines`` and some ``more``, or all of it as the last JSON line."""
    if progress == "json":
        print(json_text({"summary": told}), flush=True)
        return
    for line in [*told["lines"], *more]:
        click.echo(line)
