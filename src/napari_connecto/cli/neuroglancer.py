"""Open results in neuroglancer, in a browser on this machine."""

from __future__ import annotations

import importlib.util
import json
import threading
from pathlib import Path
from typing import Any

import click

from napari_connecto.cli.export import labels_of


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the local server; 0: a free one.")
@click.option("--client", metavar="URL", help="Another page of neuroglancer to open the data in.")
@click.option(
    "--state", "only_state", is_flag=True, help="Print the state (JSON) and not the link; serve all the same."
)
@click.option("--for-seconds", type=float, help="Stop after this time in seconds; default: at Ctrl-C.")
def neuroglancer(
    paths: tuple[str, ...], port: int, client: str | None, only_state: bool, for_seconds: float | None
) -> None:
    """Show PATHS (an image, then labels over it) in neuroglancer: prints a link, and serves them until Ctrl-C.

    Each is an OME-Zarr or precomputed folder, or the result folder of a search or a segmentation, on this machine.
    Nothing but these folders is served, to this machine alone.
    """
    from napari_connecto.io.serve import FolderServer
    from napari_connecto.workflows.app.neuroglancer import HOSTED, link, shown, state

    layers = [shown(labels_of(path)) for path in paths]
    with FolderServer([Path(layer.folder) for layer in layers], port) as server:
        told = state(layers, [server.url(i) for i in range(len(layers))])
        viewer = None if client or only_state else _own_page(told)  # its page goes with it
        if only_state:
            click.echo(json.dumps(told))
        else:
            click.echo(viewer.get_viewer_url() if viewer else link(client or HOSTED, told))
        click.echo("Serving on this machine only. Press Ctrl-C to stop.", err=True)
        _wait(for_seconds)


def _own_page(told: dict[str, Any]) -> Any:
    """Neuroglancer's own page on this machine, where its package (extra "neuroglancer") is installed."""
    if importlib.util.find_spec("neuroglancer") is None:
        return None
    import neuroglancer

    neuroglancer.set_server_bind_address("127.0.0.1")
    viewer = neuroglancer.Viewer()
    viewer.set_state(told)
    return viewer


def _wait(seconds: float | None) -> None:
    try:
        threading.Event().wait(seconds)
    except KeyboardInterrupt:
        click.echo("closed", err=True)
