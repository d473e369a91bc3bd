from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import Output, Scaling
from napari_connecto.core.volume import Level
from napari_connecto.workflows.adapt.annotate.uncertainty import check_boundary, patch_uncertainty
from napari_connecto.workflows.adapt.params import SuggestParams
from napari_connecto.workflows.shared.uncertainty_kinds import KINDS, FlipVariance, entropy
from tests.workflows.checkers import NM, Believer

IMAGE = np.random.default_rng(0).random((3, 150, 170)).astype(np.float32)


class Smooth(Believer):
    """Looks 3 voxels around, within its halo of 8."""

    def answer(self, image):
        return ndimage.uniform_filter(image, (1, 1, 7, 7) if image.ndim == 4 else (1, 7, 7), mode="nearest")


class Ramp(Believer):
    """Adds how far right a voxel is in its tile: is not the same for a mirrored patch."""

    def answer(self, image):
        return image + np.linspace(0, 0.1, image.shape[-1], dtype=np.float32)


def test_entropy_by_hand():
    p = np.array([0.0, 0.5, 1.0, 0.25, 1.5])
    want = [0, 1, 0, 0.25 * 2 + 0.75 * np.log2(4 / 3), 0]
    np.testing.assert_allclose(entropy(p), want, rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 33, 21), (1, 64, 64), (1, 100, 130)])
def test_patches_anywhere_are_as_in_the_whole(shape):
    whole = entropy(ndimage.uniform_filter(IMAGE, (1, 7, 7), mode="nearest"))
    starts = [(0, 0, 0), (1, 13, 27), (2, 150 - shape[1], 170 - shape[2])]
    boxes = [Box(s, tuple(a + n for a, n in zip(s, shape, strict=True))) for s in starts]
    model = Smooth()
    answers = list(patch_uncertainty(Level(IMAGE, NM), boxes, model, Scaling()))
    for box, answer in zip(boxes, answers, strict=True):
        np.testing.assert_allclose(answer, whole[box.slices], atol=1e-5)
    assert model.shapes == {(1, 80, 80)}  # always tile and halo of the card


def test_the_scaling_is_applied():
    box = Box((0, 40, 40), (1, 72, 72))
    bright = Level((IMAGE * 200).astype(np.uint8), NM)
    (answer,) = patch_uncertainty(bright, [box], Believer(), Scaling(0.0, 200.0))
    np.testing.assert_allclose(answer, entropy((IMAGE * 200).astype(np.uint8) / 200)[box.slices], atol=1e-5)


def test_flips_disagree_where_the_model_is_not_symmetric():
    box = Box((0, 40, 40), (1, 72, 72))
    (same,) = patch_uncertainty(Level(IMAGE, NM), [box], Smooth(), Scaling(), "flips")
    assert same.max() < 1e-12
    (answer,) = patch_uncertainty(Level(IMAGE, NM), [box], Ramp(), Scaling(), "flips")
    ramp = np.linspace(0, 0.1, 80)[24:56]  # the patch lies in the middle of a tile of 64 with a halo of 8
    want = ((ramp - ramp[::-1]) / 2) ** 2  # two of four answers have the ramp mirrored
    np.testing.assert_allclose(answer[0], np.broadcast_to(want, (32, 32)), rtol=1e-3, atol=1e-9)


def test_a_model_that_trims_its_context_keeps_doing_so():
    class Context(Believer):
        def answer(self, image):
            return image.mean(axis=1, keepdims=True)

    model = Context((1, 64, 64), (1, 8, 8), (Output("boundary", trimmed=(1, 0, 0)),))
    box = Box((1, 40, 40), (2, 72, 72))
    (answer,) = patch_uncertainty(Level(IMAGE, NM), [box], model, Scaling())
    np.testing.assert_allclose(answer[0], entropy(IMAGE.mean(0))[40:72, 40:72], atol=1e-5)
    assert FlipVariance(model).card.outputs == model.card.outputs


def test_kinds_are_those_of_the_form_and_no_other():
    (offered,) = (f.metadata["choices"] for f in fields(SuggestParams) if f.name == "uncertainty")
    assert offered == tuple(KINDS)
    box = Box((0, 0, 0), (1, 32, 32))
    for kind in offered:
        assert next(patch_uncertainty(Level(IMAGE, NM), [box], Believer(), Scaling(), kind)).shape == box.shape
    with pytest.raises(InputError, match="got uncertainty 'entropi'; allowed: entropy, flips"):
        next(patch_uncertainty(Level(IMAGE, NM), [box], Believer(), Scaling(), "entropi"))


def test_refuses_models_that_give_no_boundary():
    check_boundary(Believer().card)
    with pytest.raises(ModelError, match=r"has outputs \['object'\], not 'boundary'"):
        check_boundary(Believer(outputs=(Output("object"),)).card)
    with pytest.raises(ModelError, match=r"has stride \(1, 2, 2\); \(1, 1, 1\) is needed"):
        check_boundary(Believer(outputs=(Output("boundary", (1, 2, 2)),)).card)
