"""A run as the words of a shell command: what *Copy command line* copies, and the commands of `cli` read back."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from napari_connecto.core.geometry import Box
from napari_connecto.core.params import flag, word
from napari_connecto.workflows.recipes.entries.leaves import OF_THE_FILE, Leaf, leaves, shares
from napari_connecto.workflows.recipes.entries.run import OnImage, Run
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

PROGRAM = "napari-connecto"


def command_line(run: Run, more: Sequence[str] = ()) -> str:
    """The shell command that does a run; ``more`` are options of where it runs."""
    return shlex.join([PROGRAM, *command_words(run), *more])


def command_words(run: Run) -> list[str]:
    """A run as the words of a command, without the program's name; what is at its default is left out."""
    kind, options = type(run), leaves(type(run))
    given = {leaf.path[0]: leaf.of(run) for leaf in options if leaf.argument}
    words = [*(kind.command or kind.workflow).split(), *(_argument(given[name]) for name in kind.arguments)]
    for leaf in options:
        if not leaf.argument:
            words += _option(leaf, _own(run, leaf))
    return words


def _own(run: Run, leaf: Leaf) -> Any:
    """The value of an option; what the labels' file states is asked for where the image's size would be taken."""
    value, field = leaf.of(run), next(field for field in fields(run) if field.name == leaf.path[0])
    labels = getattr(run, field.name)
    if value is None and isinstance(run, OnImage) and isinstance(labels, VolumeSpec):
        return OF_THE_FILE if shares(field, leaf.path[-1]) and run.volume.voxel_nm else None
    return value


def _argument(value: Any) -> str:
    text = str(value)
    return f"./{text}" if text.startswith("-") else text


def _option(leaf: Leaf, value: Any) -> Iterator[str]:
    if value is None or (value == leaf.default and not leaf.given):
        return
    if isinstance(value, bool):
        yield flag(leaf.option) if value else flag(f"no_{leaf.option}")
        return
    repeated = value if leaf.hint == tuple[Box, ...] else (value,)
    for each in repeated:
        parts = (*each.start, *each.stop) if isinstance(each, Box) else each if isinstance(each, tuple) else (each,)
        yield flag(leaf.option)
        yield from map(word, parts)
