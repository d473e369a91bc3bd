"""Commands of the data side of "X-ray to EM": simulate-xray, pair."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from napari_connecto.cli.options import SHIFT_ONLY, params_options, run_recipe, running, volume_options, volume_spec
from napari_connecto.workflows.xray.params import PairParams, XrayParams

FOLDER = click.option("--out", required=True, type=click.Path(), help="Folder of the result; a new one, or empty.")


def size_option(flag: str, text: str) -> Any:
    """Three lengths in nm."""
    return click.option(flag, type=float, nargs=3, metavar="Z Y X", help=text)


@click.command("simulate-xray")
@click.argument("path")
@FOLDER
@size_option("--xray-voxel-nm", "Voxel of the X-ray volume in nm; default: 30, or the EM's where that is larger.")
@click.option("--like", help="A real X-ray volume, whose blur, noise and histogram are taken over.")
@click.option("--region", type=int, nargs=6, metavar="Z0 Y0 X0 Z1 Y1 X1", help="Only here, finest level's voxels.")
@volume_options
@params_options(XrayParams, skip=("voxel_nm",))
@running
def simulate_xray(path: str, out: str, progress: str, **options: Any) -> None:
    """Simulate an X-ray volume of the tissue in the EM volume PATH; it says that nobody measured it."""
    voxel, like, region = (options.pop(k) for k in ("xray_voxel_nm", "like", "region"))
    recipe = {"workflow": "simulate-xray", "volume": volume_spec(path, options), "out": out}
    recipe |= {key: value for key, value in {"like": like, "region": region}.items() if value}
    run_recipe(recipe | {"params": dataclasses.asdict(XrayParams(voxel_nm=voxel, **options))}, progress)


@click.command()
@click.argument("path")
@click.argument("em")
@FOLDER
@size_option("--em-voxel-nm", "Voxel size of the EM in nm.")
@click.option("--em-array", help="Array inside the EM's HDF5 file or zarr group.")
@size_option("--grid-nm", "Voxel of the common grid in nm: the EM's level nearest to it; default: the finest.")
@volume_options
@params_options(PairParams, skip=("voxel_nm",), also=SHIFT_ONLY)
@running
def pair(path: str, em: str, out: str, progress: str, **options: Any) -> None:
    """Lay the X-ray volume PATH over the volume EM of the same tissue, and say how well they fit."""
    voxel, array, size = (options.pop(k) for k in ("em_voxel_nm", "em_array", "grid_nm"))
    recipe = {"workflow": "pair", "volume": volume_spec(path, options), "out": out}
    spec = {"path": em, "array": array, "voxel_nm": list(voxel) if voxel else None}
    recipe |= {"em": {key: value for key, value in spec.items() if value is not None}}
    run_recipe(recipe | {"params": dataclasses.asdict(PairParams(voxel_nm=size, **options))}, progress)
