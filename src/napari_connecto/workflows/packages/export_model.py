"""Export a model as a bioimage.io package, checked by importing it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import ModelError, StoreError
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.volume import Volume
from napari_connecto.io.packages.bioimage_write import Draft, write_package
from napari_connecto.models.files import CARD, load_model
from napari_connecto.models.imported.exported import (
    Scripted,
    extents_of,
    is_flat,
    scripted,
    scripted_ensemble,
    steps_of,
    torch_version,
)
from napari_connecto.models.inference.predictor import single_precision
from napari_connecto.phantoms import phantom
from napari_connecto.sample_data import TRANSLATOR, list_cascades, list_models, list_translators
from napari_connecto.workflows.packages.import_model import verified
from napari_connecto.workflows.xray.translate_params import TranslateParams
from napari_connecto.workflows.xray.translator import load_translator

CITATIONS: Mapping[str, tuple[str, str]] = {
    "detect": ("Athey, Sawmya and Shavit: cascades for large volumes", "10.48550/arXiv.2504.21598"),
    "boundary": ("Sawmya et al.: transfer between EM datasets", "10.48550/arXiv.2503.06196"),
    "translate": ("Sawmya et al.: X-ray to EM with uncertainty", "10.48550/arXiv.2303.00882"),
}


@dataclass(frozen=True)
class _Source:
    card: ModelCard
    predictor: Predictor
    script: Scripted


def export_model(model: str | Path, out: str | Path) -> Path:
    """Write a bioimage.io model package (format 0.5, TorchScript) of a native model or translator.

    Parameters
    ----------
    model
        Folder of a model (a domain, a fine-tuned one, a stage of a cascade) or of a translator, or the name of one
        that ships ("fly-medulla", "cells/level_0", "synthetic"). Of a translator the package gives "mean", "aleatoric"
        and "epistemic" of all members, recalibrated.
    out
        The zip to write.

    Returns
    -------
    Path
        ``out``. The card's normalisation becomes a step of preprocessing: with us its numbers are those of the whole
        volume, with others those of the image they show the model.

    Raises
    ------
    InputError
        If the extra ``bioimageio`` is not installed.
    ModelError
        If the model is damaged or not a native one, or the package, read back, does not reproduce its test output.
    StoreError
        If ``out`` exists or cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise StoreError(f"'{out}' exists; choose another name for the package")
    folder = _folder(model)
    source = _translator(folder) if (folder / TRANSLATOR).exists() else _model(folder)
    return write_package(_draft(source), out, verified)


def _folder(model: str | Path) -> Path:
    first, _, rest = str(model).partition("/")
    shipped = {**list_cascades(), **list_translators(), **list_models()}
    folder = shipped[first] / rest if first in shipped and not Path(model).exists() else Path(model)
    stages = sorted(path.parent.name for path in folder.glob(f"*/{CARD}"))
    if stages and not (folder / CARD).exists() and not (folder / TRANSLATOR).exists():
        raise ModelError(f"'{model}' holds several networks; export one: {', '.join(f'{model}/{s}' for s in stages)}")
    return folder


def _model(folder: Path) -> _Source:
    model = load_model(folder, device="cpu", backend="torch")
    return _Source(model.card, model, scripted(model))


def _translator(folder: Path) -> _Source:
    translator = load_translator(folder, device="cpu", backend="torch")
    predictor = translator.predictor(TranslateParams(uncertainty="ensemble"))
    known = predictor.recalibration
    script = scripted_ensemble(translator.members, (known.stated, known.right) if known else None)
    return _Source(predictor.card, predictor, script)


def _draft(source: _Source) -> Draft:
    card, flat = source.card, is_flat(source.card)
    image = _test_image(card)
    with single_precision():
        answer = source.predictor(_scaled(card, image)[None], [0])
    stacked = np.stack([answer[output.name] for output in card.outputs], axis=1)
    return Draft(
        card=card,
        weights=source.script.weights,
        torch_version=torch_version(),
        axes="bcyx" if flat else "bczyx",
        steps=steps_of(card) if source.script.any_size else {},
        test_input=image[None, :, 0] if flat else image[None],
        test_output=np.ascontiguousarray((stacked[:, :, 0] if flat else stacked).astype(np.float32)),
        documentation=_documentation(card),
        citations=dict([CITATIONS.get(card.task, CITATIONS["boundary"])]),
    )


def _test_image(card: ModelCard) -> np.ndarray:
    """A phantom, (c, z, y, x), of the size of the trace; whole numbers only where the card asks for their range."""
    read = extents_of(card)
    name = "cells" if card.task == "detect" else "neuropil"
    least = [max(r, n) for r, n in zip(read, (8, 64, 64), strict=True)]
    made = [np.asarray(phantom(name, least, seed=channel).image.levels[0].array) for channel in range(card.channels)]
    image = np.stack([image[: read[0], : read[1], : read[2]] for image in made])
    return image if card.normalisation.kind == "range" else image.astype(np.float32)


def _scaled(card: ModelCard, image: np.ndarray) -> np.ndarray:
    joined = Volume.from_array(image.reshape(-1, *image.shape[2:]), (1, 1, 1))
    return card.normalisation.resolve(joined, max_voxels=image.size)(image)


def _documentation(card: ModelCard) -> str:
    figures = "\n".join(f"- {name}: {value:.4g}" for name, value in card.metrics.items() if isinstance(value, float))
    return f"""# {card.name}

A model for the task "{card.task}", made with napari-connecto, at {card.voxel_nm} nm (z, y, x).

Trained on: {card.training or "not stated"}. Terms of the weights: {card.licence or "not stated"}.

Outputs: {", ".join(output.name for output in card.outputs)}.

## Validation

Held out by its makers:

{figures or "- not stated"}
"""
