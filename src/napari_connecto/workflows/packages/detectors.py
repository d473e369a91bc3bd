"""Any detector as the finest stage of a cascade: a model's folder, a bioimage.io package, or a registered name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError, ModelError, VoxelSizeError
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Volume
from napari_connecto.io.files import is_url
from napari_connecto.io.packages.download import fetched
from napari_connecto.models.detectors.chosen import ChosenOutput
from napari_connecto.models.detectors.registered import RegisteredPredictor, registered
from napari_connecto.models.detectors.registry import kind_of, registered_names
from napari_connecto.models.files import CARD, load_model
from napari_connecto.models.imported.predictor import ImportedPredictor
from napari_connecto.sample_data import list_models
from napari_connecto.workflows.packages.bare import bare_model, is_bare
from napari_connecto.workflows.packages.import_model import verified

PERCENTILE = "percentile"
AS_IT_IS, INVERSE = "as it is", "inverse"


def detector(
    source: str | Path,
    volume: Volume,
    *,
    output: str = "",
    shown: str = "auto",
    diameter_nm: float = 0.0,
    voxel_nm: Sequence[float] | None = None,
    device: str = "auto",
    **options: Any,
) -> Predictor:
    """A detector for `train_cascade`, whose first output is the probability of an object.

    Parameters
    ----------
    source
        Folder of a model (also what fine-tune wrote), a bioimage.io package (zip, folder, or the YAML in it; the
        address of a zip, which is downloaded once and kept in the cache), a TorchScript file, or the name of a
        registered detector ("blobs", "cellpose", ...) or of a shipped model. What lies on disk goes before a name.
    volume
        Image that it is for: a registered detector reads it at the voxel size that it wants.
    output
        Name of the output to use, of a model with several; default: the first.
    shown
        "as it is"; "inverse": 1 minus it, the inside of boundaries; "sigmoid": it gives logits; "auto": the inverse of
        boundary models, others as they are.
    diameter_nm
        Typical diameter of an object, for registered detectors that have such an option or give points.
    voxel_nm
        That a package was trained at, if it does not say; default: the image's own.
    device
        As in `load_model`.
    options
        Of a registered detector; of a TorchScript file ``normalisation``, see
        `napari_connecto.workflows.packages.bare.bare_model`.

    Returns
    -------
    Predictor
        Its card says what it is, and which output is used.

    Raises
    ------
    ModelError
        If there is no such detector, or it cannot be used or trusted.
    InputError
        If an option is unknown or does not fit.

    Examples
    --------
    >>> cells = nc.phantom("cells", (32, 96, 96), seed=1)
    >>> blobs = nc.detector("blobs", cells.image, diameter_nm=11000)
    >>> blobs.card.outputs[0].name
    'object'
    """
    path, name = Path(source), str(source)
    folder = next((f for f in (path, path / "model") if (f / CARD).is_file()), None)
    if folder is None and not path.exists():
        folder = list_models().get(name) if name not in registered_names() else None
    if folder is None and (path.exists() or is_url(name)):
        local = fetched(name) if is_url(name) else path
        way = str(options.pop("normalisation", PERCENTILE)) if is_bare(local) else PERCENTILE
        model: Predictor = _imported(local, voxel_nm, volume, way)
    elif folder is not None:
        model = load_model(folder, device=device)
    elif name in registered_names():
        given = dict(options)
        size = diameter_nm or float(given.get("diameter_nm", 0) or 0)
        if diameter_nm and "diameter_nm" not in given and _has_diameter(name):
            given["diameter_nm"] = diameter_nm
        options = {}
        model = registered(name, volume.in_pixels(), given, diameter_nm=size)
    else:
        raise ModelError(
            f"no detector '{name}'; give a model's folder, a bioimage.io package, or one of: "
            f"{', '.join((*registered_names(), *list_models()))}"
        )
    if options:
        raise InputError(f"got options {sorted(options)} for a model; only registered detectors take options")
    return _used(model, output, shown)


def options_of_text(text: str) -> dict[str, str]:
    """``"diameter_nm=8000 dark=true"`` as a mapping.

    Raises
    ------
    InputError
        If a part has no name or no value.
    """
    parts = [part.partition("=") for part in text.replace(",", " ").split()]
    if any(not key or not value for key, _, value in parts):
        raise InputError(f"got detector options {text!r}; give name=value, several with a space between them")
    return {key: value for key, _, value in parts}


def _imported(package: str | Path, voxel_nm: Sequence[float] | None, volume: Volume, way: str) -> Predictor:
    """The network of a package; one that states no voxel size reads the image as it is."""
    if is_bare(Path(package)):
        return bare_model(package, voxel_nm or volume.in_pixels().levels[0].voxel_nm, way)  # type: ignore[arg-type]
    try:
        return verified(package, voxel_nm)
    except VoxelSizeError:
        if voxel_nm is not None:
            raise
        return verified(package, volume.in_pixels().levels[0].voxel_nm)


def _has_diameter(name: str) -> bool:
    kind = kind_of(name)
    return dataclasses.is_dataclass(kind) and any(field.name == "diameter_nm" for field in dataclasses.fields(kind))


def _used(model: Predictor, output: str, shown: str) -> Predictor:
    """The model, with the chosen output alone where that is not all of it as it is."""
    card = model.card
    if shown == "auto":
        shown = INVERSE if card.task == "boundary" else AS_IT_IS
    name = card.output(output).name if output else card.outputs[0].name
    only = len(card.outputs) == 1 and card.outputs[0].stride == (1, 1, 1) and shown == AS_IT_IS
    if isinstance(model, RegisteredPredictor) and not only:
        raise InputError(f"detector '{card.name}' has one output, a map of objects; omit output and shown")
    if only and not isinstance(model, ImportedPredictor):  # whose values may be no probabilities
        return model
    return ChosenOutput(model, name, shown)  # type: ignore[arg-type]
