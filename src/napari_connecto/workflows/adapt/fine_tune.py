"""Adapt a boundary model to annotated patches, or train one from scratch with the same budget.

Source-free adaptation of a chosen backbone: Sawmya et al., arXiv 2503.06196.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from napari_connecto import __version__
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import ModelCard, Normalisation, Output, Predictor
from napari_connecto.core.shown import shown
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.augment import Augment
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.models.transfer.average import between
from napari_connecto.workflows.adapt.em_samples import EmSamples, Example, prepared
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.adapt.presets import PRESETS
from napari_connecto.workflows.shared.em_labels import boundary_target, check_labels
from napari_connecto.workflows.shared.whole import boundary_of

BOUNDARY = "boundary"
TILE, HALO = 256, 32
PATCH = 128
"""Extent along y and x of the patch that `parent_worth` is counted in, voxels."""
MANY = 8
"""From this number of annotated patches on, some select the best checkpoint."""


def boundary_card(
    name: str, voxel_nm: FVec3, *, encoder: str = "tu-resnet10t", depth: int = 4, width: int = 16
) -> ModelCard:
    """The card of an untrained 2-D boundary model: weights in half precision, tiles of 256 with a halo of 32."""
    return ModelCard(
        name=name,
        task=BOUNDARY,
        voxel_nm=voxel_nm,
        tile=(1, TILE, TILE),
        halo=(0, HALO, HALO),
        outputs=(Output(BOUNDARY),),
        normalisation=Normalisation("percentile", 1.0, 99.0),
        network={"kind": "smp", "encoder": encoder, "depth": depth, "width": width, "half": True},
    )


def fine_tune(
    model: Predictor | None,
    examples: Sequence[Any],
    params: FineTuneParams | None = None,
    *,
    held_out: Sequence[Any] = (),
    voxel_nm: FVec3 | None = None,
) -> TorchPredictor:
    """Fine-tune a boundary model on annotated patches, or train one from scratch.

    Parameters
    ----------
    model
        The model to start from, which is not changed; None trains from scratch.
    examples
        (image, labels) pairs of (y, x) or (z, y, x) arrays, or `Example` objects. Labels: 0 not labelled, 1 boundary, 2
        inside of some neurite, 3 and more instances.
    params
        Preset, steps, learning rate and more, see `FineTuneParams`.
    held_out
        Patches that choose when to stop and which state to keep. Default: every fifth of ``examples`` if there are
        eight or more, else none, and the last state is kept. To measure the gain, use patches that are in neither list.
    voxel_nm
        Voxel size of a model from scratch, (z, y, x). Default: that of the examples.

    Returns
    -------
    TorchPredictor
        ``card.parent`` is the digest of ``model``; ``card.metrics["fine_tune"]`` has parameters, seed, versions and the
        hash of the labels. With the preset "adapter", ``.adapter`` is what was learnt.

    Raises
    ------
    InputError
        If there is no patch, nothing or one class only is labelled, or shapes differ.

    Notes
    -----
    When all weights are trained, the result is a weighted mean of the old and the new weights, see `learnt_share`.

    Examples
    --------
    >>> box = nc.Box((0, 0, 0), (1, 64, 64))
    >>> image = nc.open_sample("neuropil").levels[0].read(box)[0]
    >>> neurons = nc.open_sample("neuropil", "neurons").levels[0].read(box)[0]
    >>> labels = np.where(neurons > 0, 2, 1)  # 1 boundary, 2 inside
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> tuned = nc.fine_tune(model, [(image, labels)], nc.FineTuneParams(steps=2, batch=1, crop=64))
    >>> tuned.card.parent == model.card.digest
    True
    """
    return run(fine_tune_job(model, examples, params, held_out=held_out, voxel_nm=voxel_nm))


def fine_tune_job(
    model: Predictor | None,
    examples: Sequence[Any],
    params: FineTuneParams | None = None,
    *,
    held_out: Sequence[Any] = (),
    voxel_nm: FVec3 | None = None,
    stop: Callable[[], bool] | None = None,
    checkpoint: Path | None = None,
) -> Job[TorchPredictor]:
    """`fine_tune` as a job.

    Parameters
    ----------
    model, examples, params, held_out, voxel_nm
        As in `fine_tune`.
    stop, checkpoint
        See `models.training.fit.fit`.

    Yields
    ------
    Progress
        ``payload`` is ``{"step", "loss", "score"}``; ``score`` is minus the cross-entropy on the held-out patches.
    """
    params = params or FineTuneParams()
    preset, patches = PRESETS[params.preset], [Example.of(e) for e in examples]
    if not patches:
        raise InputError("no annotated patch; commit at least one")
    check_labels(np.concatenate([_flat(e.labels) for e in patches], axis=1))
    learnt, choosing = _apart(patches, [Example.of(e) for e in held_out])
    start = torch_model(model) if model is not None else _scratch(patches, params, voxel_nm)
    samples = EmSamples(
        learnt, start.card, params.crop, params.batch, params.seed, Augment() if params.augment else None
    )
    settings = FitParams(
        steps=params.steps or preset.steps,
        learning_rate=params.learning_rate or preset.learning_rate,
        train="all" if model is None else preset.train,  # type: ignore[arg-type]
        patience=params.patience if choosing else 0,
        validate_every=max(5, (params.steps or preset.steps) // 20),
        seed=params.seed,
    )
    validate = BoundaryLoss.of(choosing, start.card) if choosing else None
    yield Progress(0, settings.steps, "training")
    trained = yield from fit(start, samples.from_step, settings, validate=validate, stop=stop, checkpoint=checkpoint)
    if settings.train == "all" and model is not None:
        trained = between(start, trained, learnt_share(start, learnt, params.parent_worth))
    return _signed(trained, start if model is not None else None, patches, params)


def learnt_share(start: Predictor, patches: Sequence[Example], parent_worth: float) -> float:
    """How far to go from the old model's weights to the fine-tuned ones: n / (n + parent_worth * skill).

    n is the labelled area in patches of 128 x 128; skill is how well the old model ranks the labelled voxels. Few
    patches contain few of the structures that are not membrane: trained on them alone, a model forgets the others
    (mitochondria became boundary). A model without skill on such images has nothing to forget. Measured in
    docs/benchmarks/adapt_choices.md.
    """
    area = sum(float((prepared(e, start.card)[1] > 0).sum()) for e in patches)
    return area / (area + parent_worth * skill(start, patches) * PATCH**2)


def skill(model: Predictor, patches: Sequence[Example]) -> float:
    """Gini coefficient of a boundary model on labelled voxels, 2 AUC - 1; 0 where that is negative."""
    pairs = [prepared(e, model.card) for e in patches]
    known = [(boundary_of(model, image)[labels > 0], boundary_target(labels)[0][labels > 0]) for image, labels in pairs]
    p, target = (np.concatenate(part) for part in zip(*known, strict=True))
    ranks, here = rankdata(p), target > 0
    count, rest = int(here.sum()), int((~here).sum())
    below = ranks[here].sum() - count * (count + 1) / 2
    return max(0.0, 2 * float(below) / (count * rest) - 1)


def _apart(patches: list[Example], held_out: list[Example]) -> tuple[list[Example], list[Example]]:
    """Training patches, and patches that select the checkpoint."""
    if held_out or len(patches) < MANY:
        return patches, held_out
    return [e for n, e in enumerate(patches) if n % 5 != 4], patches[4::5]


def _flat(labels: np.ndarray) -> np.ndarray:
    """One section of one column per patch, so that patches of any shape can be sampled together."""
    target, weight = boundary_target(labels)
    return np.where(weight == 0, 0, 2 - target.astype(np.int64)).reshape(1, -1)


def _scratch(patches: Sequence[Example], params: FineTuneParams, voxel_nm: FVec3 | None) -> TorchPredictor:
    voxel = voxel_nm or patches[0].voxel_nm
    if voxel is None:
        raise InputError("training from scratch needs the voxel size: give voxel_nm, (z, y, x) in nm")
    return new_model(boundary_card("scratch", voxel), params.seed, device=params.device)


def labels_hash(patches: Sequence[Example]) -> str:
    """SHA-256 over shapes and voxels of the labels, in order."""
    digest = hashlib.sha256()
    for patch in patches:
        digest.update(str(patch.labels.shape).encode())
        digest.update(np.ascontiguousarray(patch.labels).astype("<u4").tobytes())
    return digest.hexdigest()


def _signed(
    trained: TorchPredictor, parent: TorchPredictor | None, patches: Sequence[Example], params: FineTuneParams
) -> TorchPredictor:
    """The model with its provenance on its card."""
    told = {"params": asdict(params), "patches": len(patches), "labels": labels_hash(patches), "version": __version__}
    card = replace(
        trained.card,
        parent=parent.card.digest if parent is not None else "",
        metrics={"fine_tune": told},  # the parent's figures do not apply to this model
    )
    signed = TorchPredictor(card, trained.net, str(trained.device))
    signed.adapter = trained.adapter
    return signed


@shown
@dataclass(frozen=True)
class BoundaryLoss:
    """Validation score: minus the mean cross-entropy of the boundary on held-out patches; higher is better."""

    patches: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, examples: Sequence[Example], card: ModelCard) -> BoundaryLoss:
        """From annotated patches at the card's voxel size."""
        return cls(tuple(prepared(e, card) for e in examples))

    def __call__(self, model: Predictor) -> float:
        """Score a model."""
        total = known = 0.0
        for image, labels in self.patches:
            p = np.clip(boundary_of(model, image), 1e-4, 1 - 1e-4)
            target, weight = boundary_target(labels)
            total += float(-(weight * np.where(target > 0, np.log(p), np.log(1 - p))).sum())
            known += float(weight.sum())
        return -total / max(known, 1.0)
