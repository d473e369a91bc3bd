"""Target: the arguments of every command."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any
from unittest import mock

import click

from napari_connecto import cli
from napari_connecto.cli.runs import How
from napari_connecto.core.jobs import run
from napari_connecto.io.volumes.write import save_volume_job
from napari_connecto.workflows.recipes.entries.run import Run
from tests.fuzzing.mutate import NUMBERS, TEXTS
from tests.fuzzing.runs import begin
from tests.fuzzing.target import Target, deep
from tests.fuzzing.volumes import image

LEFT_OUT = ("demo", "--scheduler", "--workers", "--out", "--session", "out")
"""Opens a viewer; starts processes; writes where it is told to."""


def arguments(folder: Path) -> Target:
    """Any command with sound, odd, foreign and absent options; one in 16 is begun, see `begin`."""
    volume = folder / "image.ome.zarr"
    run(save_volume_job(image(), volume, levels=2))
    commands = dict(_leaves(cli.cli, ()))
    cwd = folder / "cwd"

    callbacks = {command: command.callback for command in commands.values()}

    def start(run: Run, how: How) -> None:
        begin(run)

    def feed(given: list[str]) -> None:
        shutil.rmtree(cwd, ignore_errors=True)
        cwd.mkdir()
        before, run_it = Path.cwd(), deep(" ".join(given).encode("utf-8", "surrogatepass"))
        patches = [mock.patch.object(module, "do_run", start) for module in _running()]
        patches += [mock.patch("click.echo"), mock.patch("builtins.print")]
        try:
            os.chdir(cwd)
            for patch in patches:
                patch.start()
            for command, callback in callbacks.items():
                command.callback = callback if run_it else None  # else it is only parsed
            cli.cli(given, standalone_mode=False, prog_name="napari-connecto")
        finally:
            for command, callback in callbacks.items():
                command.callback = callback
            for patch in patches:
                patch.stop()
            os.chdir(before)

    words = [str(n) for n in NUMBERS] + [t for t in TEXTS if _can_be_given(t)]
    words += [str(volume), "cells", "fly-medulla", "synthetic", "1", "4"] * 6

    def make(rng: Random) -> list[str]:
        path = rng.choice(sorted(commands))
        return _line(rng, path, commands[path], words)

    return Target("command-line arguments", make, feed)


def _running() -> list[ModuleType]:
    """The modules of commands that run a recipe."""
    return [module for module in vars(cli).values() if isinstance(module, ModuleType) and hasattr(module, "do_run")]


def _can_be_given(word: str) -> bool:
    """By a shell; and neither a place on this machine nor one in the network, which it would be right to go to."""
    try:
        os.fsencode(word)
    except UnicodeEncodeError:
        return False
    return "\x00" not in word and not word.startswith(("/", "~", "http:", "s3:"))


def _leaves(group: click.Command, path: tuple[str, ...]) -> Any:
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            if name not in LEFT_OUT:
                yield from _leaves(command, (*path, name))
    else:
        yield path, group


def _line(rng: Random, path: tuple[str, ...], command: click.Command, words: list[str]) -> list[str]:
    found = list(path)
    for parameter in command.params:
        name = parameter.opts[0]
        if isinstance(parameter, click.Argument):
            found.append("out" if name == "out" else rng.choice(words))
        elif name in ("--out", "--session"):
            found += [name, "out"] if rng.randrange(10) else []
        elif name not in LEFT_OUT and (parameter.required or rng.randrange(6) == 0):
            found += _option(rng, parameter, words)
    if rng.randrange(10) == 0:
        found.insert(rng.randint(1, len(found)), rng.choice(words))
    return found


def _option(rng: Random, parameter: click.Parameter, words: list[str]) -> list[str]:
    if getattr(parameter, "is_flag", False):
        return [parameter.opts[0]]
    likely = [str(choice) for choice in getattr(parameter.type, "choices", ())]
    if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType):
        likely = [str(rng.randint(-2, 300)), f"{rng.random():.3f}"]
    of = likely if likely and rng.randrange(3) else words
    return [parameter.opts[0], *(rng.choice(of) for _ in range(parameter.nargs))]
