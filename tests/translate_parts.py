"""Small translators that nobody trained, and X-ray for them: fast, and of known answers where that is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_connecto.core.volume import Volume
from napari_connecto.models.files import new_model
from napari_connecto.workflows.xray.reliability import Recalibration
from napari_connecto.workflows.xray.training.design import translator_card
from napari_connecto.workflows.xray.translate_params import TranslatorParams
from napari_connecto.workflows.xray.translator import Translator

EM_NM, XRAY_NM = (10.0, 10.0, 10.0), (20.0, 20.0, 20.0)
PARAMS = TranslatorParams(name="tiny", members=2, steps=4, width=2, depth=2, dropout=0.2, crop=16, batch=2)


def untrained(members: int = 2, recalibrated: float = 2.0, tile=(32, 32, 32), **changes) -> Translator:
    """Random networks, on tiles that small volumes fill; standard deviations are multiplied by ``recalibrated``."""
    card = replace(translator_card(PARAMS, EM_NM), tile=tile)
    models = tuple(new_model(card, seed, device="cpu") for seed in range(members))
    fix = {"ensemble": Recalibration((1.0,), (recalibrated,))}
    return Translator("tiny", models, fix, {"params": {}, "metrics": {}, "simulated": None, **changes})


def texture(shape, seed: int = 0) -> np.ndarray:
    """Smooth noise, uint8."""
    image = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5)
    return np.clip(128 + 40 * image / image.std(), 0, 255).astype(np.uint8)


def xray(shape=(20, 24, 28), seed: int = 0) -> Volume:
    """Half as fine as the translators' EM."""
    return Volume.from_array(texture(shape, seed), XRAY_NM, name="X-ray")
