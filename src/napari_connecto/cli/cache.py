"""What is kept between runs because it can be made again."""

from __future__ import annotations

import time

import click

from napari_connecto.cli.options import ask
from napari_connecto.core.amounts import bytes_text


@click.group()
def cache() -> None:
    """Show or empty the cache: converted networks, coarse levels, timings, scratch folders left by killed runs."""


@cache.command()
def show() -> None:
    """List the contents with their sizes."""
    from napari_connecto.core.settings import settings
    from napari_connecto.io.stores.chunk_folder import list_levels
    from napari_connecto.models.inference.kept import cache_folder, list_kept
    from napari_connecto.workflows.cascade.search.timed_before import timings_folder
    from napari_connecto.workflows.shared.scratch import folder_bytes, list_scratch

    items, scratch = list_kept(), list_scratch()
    click.echo(f"{cache_folder()}: {len(items)} converted networks, {bytes_text(sum(size for _, size, _ in items))}")
    for path, size, used in items:
        click.echo(f"  {path.name}  {bytes_text(size)}, used {time.strftime('%Y-%m-%d %H:%M', time.localtime(used))}")
    click.echo(f"at most {settings().cache_gb:g} GB are kept; the least recently used entries are removed first")
    for path, _, used in list_levels():
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(used))
        click.echo(f"  coarse levels: {path}  {bytes_text(folder_bytes(path))}, used {when}")
    if timings_folder().exists():
        click.echo(f"  timings of cascades: {timings_folder()}  {bytes_text(folder_bytes(timings_folder()))}")
    for path, size in scratch:
        click.echo(f"  left behind: {path}  {bytes_text(size)}")


@cache.command()
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def empty(yes: bool) -> None:
    """Delete the contents; they are made again when needed."""
    from napari_connecto.io.stores.chunk_folder import list_levels
    from napari_connecto.models.inference.kept import cache_folder, list_kept, shrink
    from napari_connecto.workflows.cascade.search.timed_before import timings_folder
    from napari_connecto.workflows.shared.scratch import folder_bytes, list_scratch, remove_scratch

    total, scratch = sum(size for _, size, _ in list_kept()), list_scratch()
    scratch += [(path, folder_bytes(path)) for path, _, _ in list_levels()]
    scratch += [(timings_folder(), folder_bytes(timings_folder()))] if timings_folder().exists() else []
    total += sum(size for _, size in scratch)
    if total == 0 and not scratch:
        click.echo(f"{cache_folder()} is empty")
        return
    if not yes:
        ask(f"delete {bytes_text(total)} in {cache_folder().parent} and in left-over scratch folders?")
    gone = shrink(0) + sum(remove_scratch(path) for path, _ in scratch)
    click.echo(f"{bytes_text(gone)} deleted")
