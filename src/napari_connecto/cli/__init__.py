"""The command line: ``napari-connecto COMMAND``."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any, cast

import click

from napari_connecto import __version__
from napari_connecto.cli import (
    cache,
    cascade,
    doctor,
    domains,
    encoders,
    export,
    general,
    guard,
    neuroglancer,
    proofread,
    report,
)
from napari_connecto.cli.runs import run_command
from napari_connecto.core.errors import Cancelled, ConnectoError, out_of_memory
from napari_connecto.core.settings import settings
from napari_connecto.workflows.recipes.entries import ENTRIES


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True})
@click.version_option(__version__, prog_name="napari-connecto")
def cli() -> None:
    """Find objects in big microscopy volumes and adapt models to them, without a screen."""


def main() -> None:
    """Entry point: one line on bad input (exit 2), on Ctrl-C (130) or SIGTERM (143); 0 when all was written."""
    stopped_by = [signal.SIGINT]

    def terminate(*_: Any) -> None:
        stopped_by[0] = signal.SIGTERM
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    # torch's threads that wait by spinning fight for shared cores: a training step took 6 to 8 times the processor time
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        threads = settings().threads
        if threads:  # torch, once it is imported, spreads no further
            os.environ["OMP_NUM_THREADS"] = str(threads)
        cli(standalone_mode=False, prog_name="napari-connecto")
    except Cancelled as error:
        _leave(str(error), 128 + stopped_by[0])
    except (KeyboardInterrupt, click.Abort):
        _leave("cancelled; what was finished is kept, run the same command again to resume", 128 + stopped_by[0])
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # click 8.1 prints its help itself
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        where = getattr(getattr(error, "ctx", None), "command_path", _asked(sys.argv[1:]))
        _leave(f"{where}: {error.format_message().rstrip('.')}; see {where} --help", 2)
    except ConnectoError as error:
        _leave(f"napari-connecto: {error}", 2)
    except Exception as error:
        if not out_of_memory(error):
            raise
        warnings.simplefilter("ignore")  # what was begun and never awaited is no news now
        _leave("napari-connecto: out of memory; close other programs and run again: finished parts are saved", 2)


def _asked(words: Sequence[str]) -> str:
    """The command that these words begin with; click does not say of which one it could not read the options."""
    path, command = ["napari-connecto"], cast(click.Command, cli)
    for word in words:
        if not isinstance(command, click.Group) or word not in command.commands:
            break
        path, command = [*path, word], command.commands[word]
    return " ".join(path)


def _leave(line: str, code: int) -> None:
    click.echo(" ".join(line.split()), err=True)
    sys.exit(code)


OWN = {
    "detect": cascade.detect,
    "train-domain": domains.domains,
    **dict.fromkeys(("guard-fit", "guard-check"), guard.guard),
}
"""Commands of workflows that have more than their entry says, or stand in a group."""

general.models.add_command(encoders.encoders)
general.models.add_command(encoders.fetch)

for command in (
    general.demo,
    general.samples,
    general.info,
    general.convert,
    *(OWN.get(name) or run_command(kind) for name, kind in ENTRIES.items()),
    export.export,
    proofread.proofread,
    neuroglancer.neuroglancer,
    doctor.doctor,
    cache.cache,
    general.models,
    general.run_document,
    report.report,
):
    cli.add_command(command)
