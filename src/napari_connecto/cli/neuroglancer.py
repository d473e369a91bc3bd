"""Open results in neuroglancer, in a browser on this machine."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_connecto.cli.export import labels_of

if TYPE_CHECKING:
    from napari_connecto.workflows.app.neuroglancer import Point, Shown


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

    Each is an OME-Zarr or precomputed folder, or the result folder of a search, a segmentation or a translation, on
    this machine. A translation comes with its segments, their uncertainty, and the decisions that are most uncertain.
    Nothing but these folders is served, to this machine alone.
    """
    from napari_connecto.io.serve import FolderServer
    from napari_connecto.workflows.app.neuroglancer import HOSTED, link, state

    layers, points = _layers(paths)
    tables = {i: layer.properties for i, layer in enumerate(layers) if layer.properties is not None}
    with FolderServer([*(layer.folder for layer in layers), *tables.values()], port) as server:
        properties = {i: server.url(len(layers) + k) for k, i in enumerate(tables)}
        urls = [server.url(i) for i in range(len(layers))]
        told = state(layers, urls, properties=properties, points=points)
        viewer = None if client or only_state else _own_page(told)  # its page goes with it
        if only_state:
            click.echo(json.dumps(told))
        else:
            click.echo(viewer.get_viewer_url() if viewer else link(client or HOSTED, told))
        click.echo("Serving on this machine only. Press Ctrl-C to stop.", err=True)
        _wait(for_seconds)


def _layers(paths: Sequence[str]) -> tuple[list[Shown], list[Point]]:
    """Layers in the order of the paths, and the annotations of translations."""
    from napari_connecto.workflows.app.neuroglancer import shown
    from napari_connecto.workflows.app.neuroglancer_xray import is_translation, translation_layers

    layers: list[Shown] = []
    points: list[Point] = []
    for path in paths:
        if is_translation(Path(path)):
            more, told = translation_layers(Path(path))
            layers += more
            points += told
        else:
            layers.append(shown(labels_of(path)))
    return layers, points


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
