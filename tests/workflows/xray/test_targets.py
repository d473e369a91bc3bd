"""What a translator learns beside brightness: the right place, scale and weight of each target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Output, Scaling
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.shared.whole import answers
from napari_connecto.workflows.xray.params import XrayParams
from napari_connecto.workflows.xray.simulate import simulate_xray
from napari_connecto.workflows.xray.training.design import translator_card
from napari_connecto.workflows.xray.training.microscopes import on_grid, other_xrays_job, random_microscope
from napari_connecto.workflows.xray.training.pair_samples import PairSamples, Scene
from napari_connecto.workflows.xray.training.targets import (
    FINDING,
    prepared_job,
    with_membranes_job,
    with_microscopes_job,
    with_teacher_job,
)
from napari_connecto.workflows.xray.translate_params import TranslatorParams
from tests.translate_parts import EM_NM, texture, untrained

OUTPUTS = ("mean", "log_variance", "log_epistemic", "membrane")


def scene(shape=(24, 28, 32)) -> Scene:
    em = texture(shape, 1).astype(np.float32) / 255
    return Scene(1 - em, em, np.ones(shape, bool))


class Dark:
    """A boundary model that calls dark what is below the middle of its scale, of sections."""

    def __init__(self, pixel: float = 10.0) -> None:
        sizes = ((1, 32, 32), (0, 0, 0), (Output("boundary"),))
        self.calls_made = 0
        self.card = ModelCard("dark", "boundary", (40.0, pixel, pixel), *sizes)

    def __call__(self, batch, seeds):
        self.calls_made += 1
        return {"boundary": (batch[:, 0] < 0.5).astype(np.float32)}


def test_membranes_are_those_that_the_model_finds_in_the_em():
    own = scene()
    found = run(with_membranes_job(own, Dark(), EM_NM)).membrane
    low, high = np.percentile(own.em, (1, 99))
    scaled = (own.em - low) / (high - low)
    sure = np.abs(scaled - 0.5) > 1e-5
    np.testing.assert_array_equal(found[sure], (scaled < 0.5)[sure])
    with pytest.raises(InputError, match=r"EM pixels of 10 nm and the boundary model 'dark' for 20 nm"):
        run(with_membranes_job(own, Dark(20.0), EM_NM))


def test_preparing_reports_often_and_stops_where_it_is_closed():
    """A report per section tile and per step of a simulation, so that cancelling waits for no more than one of them."""
    params = TranslatorParams(members=1, microscopes=2, width=2, depth=2)
    card, model = translator_card(params, EM_NM, membrane=True), Dark()
    em = Level(texture((24, 28, 32), 1), EM_NM)
    blocks = {"train": scene(), "validation": scene((8, 28, 32)), "test": scene((8, 28, 32))}
    asked = (blocks, em, Box((0, 0, 0), em.shape), card, params, model, None, Scaling())
    stages = [(p.stage, p.done, p.total) for p in prepared_job(*asked)]
    assert [s for s in stages if s[0] != FINDING][-1][1:] == (8, 8), "four steps of each of two simulations"
    tiles = sum(24 + 28 + 32 if n == "train" else 8 + 28 + 32 for n in ("train", "validation"))
    assert sum(s[0] == FINDING for s in stages) == tiles
    job = prepared_job(*asked)
    next(p for p in job if p.stage == FINDING)
    before = model.calls_made
    job.close()
    assert model.calls_made <= before + 1, "what was under way is finished, nothing is begun"


def test_a_teacher_answers_on_the_scale_of_the_pupil():
    """Its 0 and 1 are other grey values: means and variances are converted."""
    teacher = untrained(about=None)
    teacher = replace(teacher, about={"target": {"offset": 50.0, "scale": 100.0, "base": 0}})
    taught = run(with_teacher_job(scene(), teacher, Scaling(40.0, 200.0))).taught
    answer = answers(teacher.predictor(), scene().xray)
    grey = answer["mean"] * 100 + 50
    np.testing.assert_allclose(taught.mean, (grey - 40) / 200, atol=1e-5)
    total = answer["aleatoric"] ** 2 + answer["epistemic"] ** 2
    np.testing.assert_allclose(taught.variance, total / 4, rtol=1e-4)
    np.testing.assert_allclose(taught.epistemic, answer["epistemic"] ** 2 / 4, rtol=1e-4)
    with pytest.raises(InputError, match="cannot be a teacher"):
        run(with_teacher_job(scene(), replace(teacher, about={}), Scaling()))


def test_a_teacher_is_believed_of_the_own_xray_alone():
    """X-ray by another microscope says less: its target is the EM, and no epistemic variance."""
    teacher = replace(untrained(), about={"target": {"offset": 0.0, "scale": 1.0}})
    own = run(with_teacher_job(scene(), teacher, Scaling()))
    np.testing.assert_array_equal(own.targets("mean", own=True)[0], own.taught.mean)
    np.testing.assert_array_equal(own.targets("mean", own=False)[0], own.em)
    assert own.targets("log_variance", own=False)[0].max() == 0
    assert own.targets("log_epistemic", own=False)[1].max() == 0
    assert own.targets("log_epistemic", own=True)[1].min() == 1
    assert own.targets("membrane", own=True)[1].max() == 0, "no boundary model, nothing to learn"


def test_samples_draw_from_all_microscopes_and_turn_all_targets_alike():
    em = np.random.default_rng(0).random((16, 20, 20)).astype(np.float32)
    other = Scene(em, em, np.ones(em.shape, bool), others=(em + 10, em + 20), membrane=em / 2)
    xray, target, weight = PairSamples(other, (8, 8, 8), 64, seed=1, outputs=OUTPUTS).at(0)
    assert target.shape == weight.shape == (64, 4, 8, 8, 8)
    np.testing.assert_array_equal(target[:, 3], target[:, 0] / 2)
    kinds = np.rint((xray[:, 0] - target[:, 0]).mean((1, 2, 3)) / 10).astype(int)
    counts = np.bincount(np.clip(kinds, 0, 2), minlength=3)
    assert counts[0] > 20, "half of them are the scene's own"
    assert counts.min() > 5
    assert PairSamples(other, (8, 8, 8), 2, seed=1, changed=False).at(0)[0].max() <= 1


def test_microscopes_repeat_themselves_and_differ():
    first, again = (random_microscope(np.random.default_rng(3), 10.0) for _ in range(2))
    assert first == again
    drawn = [random_microscope(np.random.default_rng(n), 10.0) for n in range(20)]
    sizes = [p.voxel_nm[0] for p in drawn]
    assert 20 <= min(sizes) < 25 < 35 < max(sizes) <= 40
    assert any(p.noise_fwhm == 0 for p in drawn)
    assert any(p.noise_fwhm > 1 for p in drawn)


def test_other_xrays_lie_on_the_em_and_keep_its_sign():
    em = Level(texture((32, 40, 44), 2), EM_NM)
    for dark in (True, False):
        for image in run(other_xrays_job(em, 2, seed=0, percentiles=(1, 99), dark=dark)):
            assert image.shape == em.shape
            assert image.dtype == np.float32
            alike = np.corrcoef(image.ravel(), em.array.ravel().astype(float))[0, 1]
            assert (alike > 0.2) if dark else (alike < -0.2)
    own = run(with_microscopes_job(scene(), Level(texture((24, 28, 32), 1), EM_NM), 1, 0, (1, 99)))
    assert np.corrcoef(own.others[0].ravel(), own.xray.ravel())[0, 1] > 0.2, "inverted as its own X-ray is"


def test_the_grid_is_that_of_the_em():
    """A ramp stays where it is when it is averaged to larger voxels and interpolated back."""
    ramp = np.broadcast_to(np.arange(48.0)[:, None, None], (48, 6, 6))
    coarse = Level(ramp.reshape(16, 3, 2, 3, 2, 3).mean((1, 3, 5)), (30.0, 30.0, 30.0))
    fine = on_grid(coarse, Level(ramp, EM_NM), (0, 100))
    np.testing.assert_allclose(fine[3:-3, 0, 0] * 45 + 1, np.arange(48.0)[3:-3], atol=1e-4)


def test_correlated_noise_keeps_its_size_and_a_curve_changes_contrast():
    em = Volume.from_array(texture((48, 48, 48), 4), EM_NM, name="EM")
    quiet = XrayParams(voxel_nm=EM_NM, background=0, rings=0, stripes=0, photons=0)
    noisy = replace(quiet, photons=300.0, readout=0.0)
    plain, white, grainy = (
        simulate_xray(em, p).levels[0].array.astype(float) for p in (quiet, noisy, replace(noisy, noise_fwhm=2.0))
    )
    near = [np.corrcoef((a - plain)[:-1].ravel(), (a - plain)[1:].ravel())[0, 1] for a in (white, grainy)]
    assert near[1] > near[0] + 0.3
    curved = simulate_xray(em, replace(quiet, contrast=2.0)).levels[0].array.astype(float)
    assert np.corrcoef(curved.ravel(), plain.ravel())[0, 1] > 0.9
    assert abs(np.median(curved) - np.median(plain)) > 20
