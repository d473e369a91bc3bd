"""What a model answers about a volume, as dask arrays."""

from __future__ import annotations

from typing import Protocol, overload

from napari_connecto.compute.lazy import Array, arrays
from napari_connecto.core.errors import InputError
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Volume


class HasPredictor(Protocol):
    """A translator: several models that are called as one."""

    def predictor(self) -> Predictor: ...


@overload
def lazy(volume: Volume, model: Predictor | HasPredictor, output: str) -> Array: ...
@overload
def lazy(volume: Volume, model: Predictor | HasPredictor, output: None = None) -> Array | dict[str, Array]: ...
def lazy(volume: Volume, model: Predictor | HasPredictor, output: str | None = None) -> Array | dict[str, Array]:
    """A model's outputs as dask arrays: building them computes nothing, a slice computes its tiles, once each.

    Parameters
    ----------
    volume
        Resampled to the model's voxel size where no level has it. To compute on a cluster, open it from a path that
        the workers can read.
    model
        Any model that `predict` takes, a stage of a cascade, or a translator, whose default passes are used;
        ``translator.predictor(params)`` chooses others.
    output
        Name of the output; None for all.

    Returns
    -------
    dask.array.Array or dict
        Float32 (z, y, x), one chunk per tile, on the grid of ``model.card.level_in(volume)``, which has the
        ``voxel_nm`` and ``origin_nm``; divided by the output's stride where that is not 1. Without ``output``, the only
        output of the model, or a dict of all by name. Values are as the model gives them, not rounded to 8 bits. Arrays
        from one call share their tiles: computed together (``dask.compute``), each tile is computed once.

    Raises
    ------
    ModelError
        If the model has no such output; the message lists those it has.
    VoxelSizeError, InputError
        If volume and model do not fit, or ``model`` is none.

    Notes
    -----
    A damaged chunk is a `ChunkError` when it is computed. A forward pass holds one tile; `predict` runs several at
    once, keeps what it computed, and is the better choice for a whole volume. On a CPU both give the same bits, up to
    the last one of a float for models that `predict` runs in batches.

    Examples
    --------
    >>> volume = nc.open_sample("neuropil")
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> boundary = nc.lazy(volume, model, "boundary")
    >>> boundary.shape == model.card.level_in(volume).shape
    True
    >>> part = boundary[3, :64, :128].mean()  # nothing is computed yet
    >>> 0 < float(part.compute()) < 1  # two tiles
    True
    """
    predictor = _predictor(model)
    card = predictor.card
    if output is not None:
        card.output(output)  # raises
    found = arrays(volume, card.level_in(volume), predictor)
    if output is None and len(found) > 1:
        return found
    return found[output or card.outputs[0].name]


def _predictor(model: Predictor | HasPredictor) -> Predictor:
    if isinstance(model, Predictor):
        return model
    if hasattr(model, "predictor"):
        return model.predictor()
    raise InputError(
        f"got a {type(model).__name__}; give a model, a translator, or one stage of a cascade (cascade.stages[0])"
    )
