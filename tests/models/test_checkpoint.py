from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from napari_connecto.core.errors import StoreError
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.fit import FitParams, Sample, fit
from tests.models.cards import SCORER_3D, UNET_2D
from tests.models.test_fit import noise

HALF = replace(UNET_2D, network={**UNET_2D.network, "half": True})
PARAMS = FitParams(steps=12, validate_every=3, learning_rate=2e-2)


def from_step(c: ModelCard) -> Callable[[int], Iterator[Sample]]:
    """Sample k is a function of k."""
    return lambda done: (next(noise(c, seed)) for seed in range(done, 1000))


def _brightest(c: ModelCard) -> Callable[[Predictor], float]:
    """A score that rises and falls, so that the best is not the last."""
    batch = next(noise(c, 99))[0]
    return lambda model: float(model(batch, [0] * len(batch))[c.outputs[0].name].mean())


def _killed_at(job: Job[TorchPredictor], step: int) -> None:
    """Drive a job to a step and no further."""
    assert [p.done for p in islice(job, step)] == list(range(1, step + 1))
    job.close()


@pytest.fixture(scope="module", params=["all", "decoder", "adapter"])
def trained(request: pytest.FixtureRequest) -> tuple[FitParams, TorchPredictor]:
    """Every part that can be trained, and what an undisturbed training makes of it."""
    params = replace(PARAMS, train=request.param)
    return params, run(fit(new_model(HALF, 1, device="cpu"), from_step(HALF), params, validate=_brightest(HALF)))


@pytest.mark.parametrize("killed", [1, 3, 7, 12])
def test_killed_and_started_again_ends_with_the_same_weights(
    trained: tuple[FitParams, TorchPredictor], killed: int, tmp_path: Path
) -> None:
    model, check = new_model(HALF, 1, device="cpu"), _brightest(HALF)
    params, undisturbed = trained
    path = tmp_path / "run.safetensors"
    _killed_at(fit(model, from_step(HALF), params, validate=check, checkpoint=path), killed)
    reports = []
    resumed = run(fit(model, from_step(HALF), params, validate=check, checkpoint=path), reports.append)
    assert [r.done for r in reports] == list(range(killed // 3 * 3 + 1, 13))
    assert resumed.card == undisturbed.card
    assert resumed.weights == undisturbed.weights
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]
    if params.train == "adapter":
        assert resumed.adapter is not None
        assert resumed.adapter.to_bytes() == undisturbed.adapter.to_bytes()


def test_without_validation_the_last_weights_are_the_same_too(tmp_path: Path) -> None:
    model = new_model(SCORER_3D, 1, device="cpu")
    undisturbed = run(fit(model, noise(SCORER_3D), PARAMS))
    path = tmp_path / "deep" / "run.safetensors"
    for stop in (2, 4, 5):
        job = fit(model, noise(SCORER_3D), PARAMS, checkpoint=path)  # an iterator from the start again
        list(islice(job, stop))
        job.close()
    assert run(fit(model, noise(SCORER_3D), PARAMS, checkpoint=path)).weights == undisturbed.weights


def test_what_was_finished_is_not_trained_again(tmp_path: Path) -> None:
    model, path = new_model(SCORER_3D, 1, device="cpu"), tmp_path / "run"
    check = _brightest(SCORER_3D)
    first = run(fit(model, from_step(SCORER_3D), PARAMS, validate=check, checkpoint=path))
    reports = []
    again = run(fit(model, from_step(SCORER_3D), PARAMS, validate=check, checkpoint=path), reports.append)
    assert reports == []
    assert again.weights == first.weights
    patient = replace(PARAMS, patience=1)
    early = run(fit(model, from_step(SCORER_3D), patient, validate=lambda _: 0.0, checkpoint=tmp_path / "p"))
    last = run(fit(model, from_step(SCORER_3D), patient, validate=check, checkpoint=tmp_path / "p"), reports.append)
    assert reports == []
    assert last.weights == early.weights


def test_a_run_of_other_parameters_or_another_model_is_refused(tmp_path: Path) -> None:
    model, path = new_model(SCORER_3D, 1, device="cpu"), tmp_path / "run"
    run(fit(model, from_step(SCORER_3D), PARAMS, checkpoint=path))
    with pytest.raises(StoreError, match="is a training run with another params; delete it to start again"):
        run(fit(model, from_step(SCORER_3D), replace(PARAMS, steps=20), checkpoint=path))
    with pytest.raises(StoreError, match="is a training run with another model;"):
        run(fit(new_model(SCORER_3D, 2, device="cpu"), from_step(SCORER_3D), PARAMS, checkpoint=path))


def test_damaged_runs_and_places_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    model, path = new_model(SCORER_3D, 1, device="cpu"), tmp_path / "run"
    run(fit(model, from_step(SCORER_3D), PARAMS, checkpoint=path))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StoreError, match=r"is damaged \(.*\); delete it to start again"):
        run(fit(model, from_step(SCORER_3D), PARAMS, checkpoint=path))
    path.write_bytes(model.weights)
    with pytest.raises(StoreError, match="is damaged"):
        run(fit(model, from_step(SCORER_3D), PARAMS, checkpoint=path))
    with pytest.raises(StoreError, match="cannot write the training run"):
        run(fit(model, from_step(SCORER_3D), PARAMS, checkpoint=path / "below"))
