"""Commands of the workflow "X-ray to EM"."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from napari_connecto.cli.options import (
    BACKEND,
    SHIFT_ONLY,
    TILE,
    cluster_options,
    params_options,
    run_recipe,
    running,
    volume_options,
    volume_spec,
)
from napari_connecto.workflows.xray.params import PairParams
from napari_connecto.workflows.xray.translate_params import TranslateParams, TranslatorParams


@click.command("train-translator")
@click.argument("path")
@click.argument("em")
@click.option("--out", required=True, type=click.Path(), help="Folder of the result; an interrupted one is resumed.")
@click.option("--em-array", help="Array inside the EM's HDF5 file or zarr group.")
@click.option("--em-voxel-nm", type=float, nargs=3, metavar="Z Y X", help="Voxel size of the EM in nm.")
@click.option(
    "--grid-nm", type=float, nargs=3, metavar="Z Y X", help="Voxel to translate to: the EM's level nearest to it."
)
@volume_options
@params_options(TranslatorParams)
@params_options(PairParams, skip=("voxel_nm",), also=SHIFT_ONLY)
@running
def train_translator(path: str, em: str, out: str, progress: str, **options: Any) -> None:
    """Train a translator from the X-ray volume PATH and the EM volume EM of the same tissue."""
    array, voxel, grid = (options.pop(k) for k in ("em_array", "em_voxel_nm", "grid_nm"))
    spec = {"path": em, "array": array, "voxel_nm": list(voxel) if voxel else None}
    recipe = {"workflow": "train-translator", "volume": volume_spec(path, options), "out": out}
    pairing = {field.name: options.pop(field.name) for field in dataclasses.fields(PairParams) if field.name in options}
    recipe |= {"em": {k: v for k, v in spec.items() if v is not None}}
    recipe |= {"params": dataclasses.asdict(TranslatorParams(**options))}
    recipe |= {"pairing": dataclasses.asdict(PairParams(voxel_nm=grid, **pairing))}
    run_recipe(recipe, progress)


@click.command()
@click.argument("path")
@click.option("--translator", required=True, help="A translator's folder, or the name of a shipped one (see `models`).")
@click.option("--out", required=True, type=click.Path(), help="Result folder; an unfinished one is resumed.")
@click.option("--region", type=int, nargs=6, metavar="Z0 Y0 X0 Z1 Y1 X1", help="Only here, finest level's voxels.")
@click.option(
    "--membranes", metavar="MODEL", help="Also tell where passes disagree about membranes, by this boundary model."
)
@BACKEND
@TILE
@volume_options
@params_options(TranslateParams)
@cluster_options
@running
def translate(path: str, translator: str, out: str, membranes: str | None, progress: str, **options: Any) -> None:
    """Translate the X-ray volume PATH into an EM-like one with its uncertainty."""
    recipe = {"workflow": "translate", "volume": volume_spec(path, options), "translator": translator, "out": out}
    region, scheduler, workers = options.pop("region"), options.pop("scheduler"), options.pop("workers")
    tile = options.pop("tile")
    recipe |= {"backend": options.pop("backend"), "params": dataclasses.asdict(TranslateParams(**options))}
    if region:
        recipe["region"] = list(region)
    if membranes:
        recipe["membranes"] = membranes
    if tile:
        recipe["tile"] = list(tile)
    run_recipe(recipe, progress, scheduler, workers)
