"""The guard of a model."""

from __future__ import annotations

import click

from napari_connecto.cli.runs import run_command
from napari_connecto.workflows.recipes.entries.guard import GuardCheck, GuardFit


@click.group()
def guard() -> None:
    """Where is a model's answer wrong: fit a guard to a model, check its answers."""


guard.add_command(run_command(GuardFit))
guard.add_command(run_command(GuardCheck))
