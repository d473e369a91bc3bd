"""Commands that belong to no single workflow."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from napari_connecto.cli.options import PROGRESS, drive, finish, volume_options, volume_spec
from napari_connecto.cli.runs import do_run, how_options, take_how
from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, loading
from napari_connecto.core.phases import Phases
from napari_connecto.workflows.recipes.entries.run import OnImage
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


@click.command()
@click.argument("path")
@volume_options
def info(path: str, **options: Any) -> None:
    """Print axes, levels, voxel sizes, bytes and dtype of PATH, and its arrays, channels and time points."""
    from napari_connecto.workflows.shared.spec import describe_spec

    for line in describe_spec(volume_spec(path, options), "give --voxel-nm Z Y X"):
        click.echo(line)


@click.command()
@click.argument("path")
@click.argument("out")
@volume_options
@click.option("--kind", type=click.Choice(["image", "labels"]), help="Labels downsample by mode, images by mean.")
@click.option("--levels", type=click.IntRange(1, 12), help="Number of levels; default: until small.")
@click.option("--format", "version", type=click.Choice(["0.4", "0.5"]), default="0.5", help="Version of OME-Zarr.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@PROGRESS
def convert(path: str, out: str, progress: str, **options: Any) -> None:
    """Convert PATH, any readable volume, to an OME-Zarr pyramid OUT."""
    from napari_connecto.io.volumes.write import save_volume_job
    from napari_connecto.workflows.shared.spec import describe, open_spec

    volume = open_spec(volume_spec(path, options))
    drive(save_volume_job(volume, out, **options), progress)
    dtype, lines = volume.levels[0].dtype, []
    if options["kind"] is None and volume.kind == "image" and dtype.kind in "iu" and dtype.itemsize >= 4:
        lines = [f"{dtype} was averaged as an image; if these are labels, repeat with --kind labels --overwrite"]
    written = VolumeSpec(out, channel=None if volume.levels[0].channels is None else "all")
    finish({"out": out, "lines": [*describe(open_spec(written)), *lines]}, progress)


def _run_document(recipe: str, out: str | None, volume: str | None, **options: Any) -> None:
    """Run a RECIPE (recipe.yaml) that a dock or a command wrote."""
    from napari_connecto.workflows.recipes.paths import check_inputs
    from napari_connecto.workflows.recipes.recipe import read_run

    how, run = take_how(options), read_run(recipe)
    if out is not None:
        run = replace(run, out=out)
    if volume is not None:
        if not isinstance(run, OnImage):
            raise InputError(f"'{run.workflow}' starts from a result, not from an image; omit --volume")
        run = replace(run, volume=replace(run.volume, path=volume))
    check_inputs(run, recipe)
    do_run(run, how)


run_document = click.Command(
    "run",
    callback=_run_document,
    help=_run_document.__doc__,
    params=[
        click.Argument(["recipe"], type=click.Path(exists=True, dir_okay=False)),
        click.Option(["--out"], help="Write to this folder instead of the recipe's."),
        click.Option(
            ["--volume"], help="Use this volume instead, opened with the recipe's array, voxel size and channel."
        ),
        *how_options(clustered=True),
    ],
)


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """List the cascades, boundary models and translators, import or export a model, or get weights of encoders."""
    if context.invoked_subcommand is not None:
        return
    from napari_connecto.sample_data import list_cascades, list_models, list_translators
    from napari_connecto.workflows.cascade.document import describe_cascade
    from napari_connecto.workflows.shared.library import added_models
    from napari_connecto.workflows.xray.document import describe_translator

    for name, folder in list_cascades().items():
        click.echo(f"{name}: cascade, {describe_cascade(folder)}")
    for name, folder in {**list_models(), **added_models()}.items():
        click.echo(f"{name}: boundary model, see `napari-connecto domains list` ({folder})")
    for name, folder in list_translators().items():
        click.echo(f"{name}: translator of X-ray into EM, {describe_translator(folder)}")


@models.command("import")
@click.argument("package")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the model.")
@click.option("--voxel-nm", type=float, nargs=3, metavar="Z Y X", help="Voxel size it was trained at, in nm.")
@click.option("--boundary", default="", help="Output that is the probability of a boundary; the others are left out.")
@click.option("--overwrite", is_flag=True, help="Replace a model that is in OUT.")
def import_package(package: str, out: Path, voxel_nm: tuple[float, ...] | None, boundary: str, overwrite: bool) -> None:
    """Import a bioimage.io PACKAGE (a zip, a folder, or the .yaml in it) and check it by its test tensors.

    A TorchScript file alone is imported, too; nothing in it tells whether its answers are right.
    """
    from napari_connecto.workflows.packages.bare import is_bare
    from napari_connecto.workflows.packages.import_model import import_model

    card = import_model(package, out, voxel_nm=voxel_nm, boundary=boundary, overwrite=overwrite)
    names = ", ".join(output.name for output in card.outputs)
    size = " x ".join(f"{v:g}" for v in card.voxel_nm)
    checked = "no test tensors" if is_bare(Path(package)) else "test tensors reproduced"
    click.echo(f"{out}: '{card.name}', {names}; {size} nm, tile {card.tile}, halo {card.halo}; {checked}")


@models.command("export")
@click.argument("model")
@click.argument("out", type=click.Path(path_type=Path))
def export_package(model: str, out: Path) -> None:
    """Export MODEL (a folder, or what ships by its name) as a bioimage.io package OUT (a zip), and check it."""
    from napari_connecto.workflows.packages.export_model import export_model

    click.echo(f"{export_model(model, out)}: imported again, test tensors reproduced")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("sample_data/shipped"), help="Folder.")
def samples(out: Path) -> None:
    """Copy the shipped sample volumes to where the tutorials look for them."""
    from napari_connecto.sample_data import copy_samples

    for path in copy_samples(out):
        click.echo(path)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("connecto-demo"), help="Result folder.")
@click.option("--viewer/--no-viewer", default=True, help="Open napari with the results where there is a display.")
@PROGRESS
def demo(out: Path, viewer: bool, progress: str) -> None:
    """Find cells and mitochondria in the samples, adapt a model to the neuropil, translate X-ray into EM."""
    lines: list[str] = []
    apart = progress == "json"  # then stdout is for JSON alone
    try:
        page = str(drive(_demo_job(out, lines), progress))
    finally:  # what was found before an error is worth reading too
        for line in lines:
            click.echo(line, err=apart)
    finish({"out": str(out), "report": page, "lines": ["", f"report, all of it on one page: {page}"]}, progress)
    if viewer:
        from napari_connecto.workflows.app.demo import why_no_viewer

        reason = why_no_viewer()
        if reason:
            click.echo(f"napari is not opened: {reason}", err=apart)
            return
        subprocess.run([sys.executable, "-m", "napari_connecto.widgets.demo", str(out)], check=False)


def _demo_job(out: Path, lines: list[str]) -> Job[Path]:
    """All parts of the demo; what there is to tell is added to ``lines``, and the page is returned."""
    yield loading("torch")
    from napari_connecto.reports.write import write_report_job
    from napari_connecto.workflows.app.demo import demo_job
    from napari_connecto.workflows.app.demo_adapt import adapt_demo_job
    from napari_connecto.workflows.app.demo_translate import translate_demo_job

    phases = Phases({"search": 60, "adapt": 70, "translate": 60, "report": 5})  # seconds on two cores
    lines += (yield from phases.run("search", demo_job(out))).lines
    lines += ["", *(yield from phases.run("adapt", adapt_demo_job(out / "adapt")))]
    lines += ["", *(yield from phases.run("translate", translate_demo_job(out / "translate")))]
    return (yield from phases.run("report", write_report_job(out)))
