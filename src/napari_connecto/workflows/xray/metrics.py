"""Similarity of a translation to the EM, compared with the interpolated X-ray; and calibration of its uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.polynomial import Polynomial
from skimage.metrics import structural_similarity

from napari_connecto.workflows.shared.whole import answers
from napari_connecto.workflows.xray.reliability import calibration
from napari_connecto.workflows.xray.training.pair_samples import Scene
from napari_connecto.workflows.xray.translator import Translator


def measured(translator: Translator, test: Scene, train: Scene) -> dict[str, Any]:
    """Figures of a held-out block.

    Returns
    -------
    dict
        ``translated`` and ``interpolated`` (the X-ray on the EM's grid, its brightness fitted linearly to the EM's on
        the
        training block) of `likeness`; ``calibration`` of the ensemble, see `reliability.Calibration`.
    """
    answer = answers(translator.predictor(), test.xray)
    total = np.hypot(answer["aleatoric"], answer["epistemic"])
    line = brightness(train.xray[train.valid], train.em[train.valid])
    return {
        "translated": likeness(answer["mean"], test.em, test.valid),
        "interpolated": likeness(line(test.xray), test.em, test.valid),
        "calibration": calibration(answer["mean"], total, test.em, valid=test.valid).to_json(),
    }


def brightness(image: np.ndarray, truth: np.ndarray) -> Polynomial:
    """Least-squares line from an image's brightness to the truth's."""
    return Polynomial.fit(np.ravel(image).astype(np.float64), np.ravel(truth).astype(np.float64), 1)


def likeness(image: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """PSNR (dB) and NRMSE (of the truth's range 0 to 1), and SSIM (Wang et al. 2004, windows of 7), where valid."""
    image, truth = np.asarray(image, np.float64), np.asarray(truth, np.float64)
    rmse = float(np.sqrt(np.mean((image - truth)[valid] ** 2)))
    window = min(7, *(n - 1 + n % 2 for n in truth.shape))
    _, local = structural_similarity(image, truth, win_size=window, data_range=1.0, full=True)
    return {"psnr": float(-20 * np.log10(max(rmse, 1e-12))), "nrmse": rmse, "ssim": float(local[valid].mean())}
