"""Average of two models of one network."""

from __future__ import annotations

from copy import deepcopy

from napari_connecto.core.errors import ModelError
from napari_connecto.models.inference.predictor import TorchPredictor


def between(start: TorchPredictor, end: TorchPredictor, share: float) -> TorchPredictor:
    """The model whose weights lie ``share`` of the way from one to another that was trained from it.

    Batch norm's statistics are numbers like all others. After WiSE-FT, "Robust fine-tuning of zero-shot models"
    (Wortsman et al., CVPR 2022): (1 - share) * start + share * end.

    Parameters
    ----------
    start, end
        Of one network.
    share
        0 is ``start``, 1 is ``end``.

    Returns
    -------
    TorchPredictor
        With the card of ``end`` and a digest of its own.

    Raises
    ------
    ModelError
        If their networks differ, or ``share`` is not in 0..1.
    """
    if not 0 <= share <= 1:
        raise ModelError(f"got a share of {share}; it goes from 0, the first model, to 1, the second")
    old, new = start.net.state_dict(), end.net.state_dict()
    if old.keys() != new.keys() or any(old[name].shape != new[name].shape for name in new):
        raise ModelError(f"'{start.card.name}' and '{end.card.name}' have different networks and cannot be averaged")
    mixed = {name: old[name].lerp(new[name], share) if new[name].is_floating_point() else new[name] for name in new}
    net = deepcopy(end.net)
    net.load_state_dict(mixed)
    return TorchPredictor(end.card, net, str(end.device))
