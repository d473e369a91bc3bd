from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.models.files import new_model
from napari_connecto.models.training.fit import FitParams, Sample, fit
from napari_connecto.models.transfer.encoder import encoder_parts
from tests.models.cards import SCORER_3D, SMP_25D, UNET_2D, card


def bright(c: ModelCard, seed: int, n: int = 4) -> Iterator[Sample]:
    """Noise with bright blocks of the output's stride; the target says where they are."""
    rng = np.random.default_rng(seed)
    stride = c.outputs[0].stride
    shape = [t + 2 * h for t, h in zip(c.tile, c.halo, strict=True)]
    while True:
        cells = rng.random((n, 1, *(s // k for s, k in zip(shape, stride, strict=True)))) < 0.2
        image = zoom(cells.astype(np.float32), (1, 1, *stride), order=0, grid_mode=True, mode="nearest")
        image += 0.1 * rng.standard_normal(image.shape)
        target = np.repeat(cells, len(c.outputs), axis=1).astype(np.float32)
        yield image.astype(np.float32), target, np.ones_like(target)


def noise(c: ModelCard, seed: int = 0) -> Iterator[Sample]:
    """Samples of any card."""
    rng = np.random.default_rng(seed)
    shape = [t + 2 * h for t, h in zip(c.tile, c.halo, strict=True)]
    out = c.outputs[0]
    small = [(n - 2 * t) // s for n, t, s in zip(shape, out.trimmed, out.stride, strict=True)]
    while True:
        target = (rng.random((2, len(c.outputs), *small)) < 0.5).astype(np.float32)
        yield rng.random((2, c.channels, *shape), np.float32), target, np.ones_like(target)


def agreement(c: ModelCard) -> object:
    batch, target, _ = next(bright(c, 99))

    def score(model: Predictor) -> float:
        found = model(batch, [0] * len(batch))[c.outputs[0].name] > 0.5
        return float((found == target[:, 0].astype(bool)).mean())

    return score


@pytest.mark.parametrize("c", [SCORER_3D, card(dict(UNET_2D.network), (1, 32, 32), (0, 8, 8))], ids=["3-D", "2-D"])
def test_learns_what_is_bright(c: ModelCard) -> None:
    reports = []
    params = FitParams(steps=120, learning_rate=2e-2, validate_every=30)
    model = new_model(c, 0, device="cpu")
    trained = run(fit(model, bright(c, 1), params, validate=agreement(c)), reports.append)
    assert agreement(c)(trained) > 0.99
    assert agreement(c)(model) < 0.9, "the model given is not changed"
    assert [r.done for r in reports] == list(range(1, 121))
    assert reports[-1].payload["step"] == 120
    assert reports[0].payload["score"] is None
    assert reports[-1].payload["loss"] < 0.3 * reports[0].payload["loss"]
    assert reports[-1].payload["score"] == agreement(c)(trained)


def test_the_same_seed_gives_the_same_weights() -> None:
    digests = []
    for seed in (1, 1, 2):
        model = new_model(SCORER_3D, 0, device="cpu")
        digests.append(run(fit(model, bright(SCORER_3D, seed), FitParams(steps=5))).card.digest)
    assert digests[0] == digests[1] != digests[2]


def test_half_precision_is_for_processors_that_have_it_and_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere, and without it, training is that of single precision to the last bit."""
    c = card(dict(UNET_2D.network), (1, 16, 16), (0, 8, 8))

    def digest(there: bool, wanted: bool) -> str:
        monkeypatch.setattr("napari_connecto.models.training.fit.cpu_has_bfloat16", lambda: there)
        params = FitParams(steps=2, mixed_precision=wanted)
        return run(fit(new_model(c, 0, device="cpu"), noise(c), params)).card.digest

    single = digest(there=False, wanted=True)
    assert digest(there=True, wanted=False) == single
    assert digest(there=True, wanted=True) != single


def test_the_best_model_is_kept() -> None:
    scores = iter([0.2, 0.9, 0.5])
    seen = {}

    def validate(model: Predictor) -> float:
        score = next(scores)
        seen[score] = model.card.digest
        return score

    params = FitParams(steps=6, validate_every=2)
    trained = run(fit(new_model(SCORER_3D, 0, device="cpu"), bright(SCORER_3D, 1), params, validate=validate))
    assert trained.card.digest == seen[0.9]
    assert len(set(seen.values())) == 3


def test_voxels_of_weight_zero_teach_nothing() -> None:
    def half_wrong() -> Iterator[Sample]:
        for batch, target, weight in bright(SCORER_3D, 1):
            wrong, known = target.copy(), weight.copy()
            wrong[..., :3] = 1 - wrong[..., :3]
            known[..., :3] = 0
            yield batch, wrong, known

    params = FitParams(steps=60, learning_rate=2e-2)
    trained = run(fit(new_model(SCORER_3D, 0, device="cpu"), half_wrong(), params))
    assert agreement(SCORER_3D)(trained) > 0.97


def test_samples_that_end_or_do_not_fit_are_refused() -> None:
    model = new_model(SCORER_3D, 0, device="cpu")
    batch, target, weight = next(bright(SCORER_3D, 0))
    with pytest.raises(InputError, match="got 1 training samples; one is needed per step"):
        run(fit(model, iter([(batch, target, weight)]), FitParams(steps=2)))
    with pytest.raises(InputError, match=r"got target \(4, 1, 8, 8, 7\).*gives \(4, 1, 8, 8, 8\)"):
        run(fit(model, iter([(batch, target[..., 1:], weight)]), FitParams(steps=2)))
    with pytest.raises(ModelError, match="training diverged"):
        run(fit(model, iter([(batch * np.nan, target, weight)]), FitParams(steps=2)))


def test_ten_steps_are_as_good_as_any() -> None:
    """A tenth of ten steps is one, from which no slope can be drawn."""
    for steps in (1, 2, 9, 10, 11):
        reports = []
        run(
            fit(new_model(SCORER_3D, 0, device="cpu"), bright(SCORER_3D, 1), FitParams(steps=steps)),
            reports.append,
        )
        assert len(reports) == steps


@pytest.mark.parametrize(("step_s", "made"), [(1.0, 10), (4.0, 3), (0.01, 40)])
def test_a_schedule_ends_in_time_and_no_later_than_its_last_step(step_s: float, made: int) -> None:
    """The clock drives the schedule to its end wherever it is ahead of the steps: never more than one step late."""
    now = iter(np.arange(1000) * step_s)
    reports = []
    job = fit(
        new_model(SCORER_3D, 0, device="cpu"),
        bright(SCORER_3D, 1),
        FitParams(steps=40, validate_every=40),
        validate=lambda _: 0.0,
        seconds=10.0,
        clock=lambda: float(next(now)),
    )
    run(job, reports.append)
    assert len(reports) == reports[-1].payload["step"] == made
    done = [r.done for r in reports]
    assert done == sorted(done)
    assert done[-1] == reports[-1].total == 40
    assert reports[-1].payload["score"] is not None, "the last state is compared, too"


def test_a_limit_that_is_not_reached_changes_nothing() -> None:
    model, params = new_model(SCORER_3D, 0, device="cpu"), FitParams(steps=6)
    free = run(fit(model, bright(SCORER_3D, 1), params))
    limited = run(fit(model, bright(SCORER_3D, 1), params, seconds=1e6))
    assert free.card.digest == limited.card.digest


@pytest.mark.parametrize("c", [UNET_2D, SMP_25D, SCORER_3D], ids=["unet", "smp", "scorer"])
def test_of_a_decoder_the_encoder_stays(c: ModelCard) -> None:
    model = new_model(c, 0, device="cpu")
    held = {f"{i}.{n}" for i, part in enumerate(encoder_parts(model.net, c.network)) for n in part.state_dict()}
    tuned = run(fit(model, noise(c), FitParams(steps=3, train="decoder")))
    before, after = (encoder_parts(m.net, c.network) for m in (model, tuned))
    for part, again in zip(before, after, strict=True):
        for name, tensor in part.state_dict().items():
            assert torch.equal(tensor, again.state_dict()[name]), name
    changed = [n for n, t in tuned.net.state_dict().items() if not torch.equal(t, model.net.state_dict()[n])]
    assert len(changed) == len(model.net.state_dict()) - len(held), "everything else learns"
    assert all(p.requires_grad for p in tuned.net.parameters()), "and may be trained whole later"


def test_stops_when_nothing_is_gained_any_more() -> None:
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.3])
    reports = []
    params = FitParams(steps=100, validate_every=2, patience=3)
    job = fit(new_model(SCORER_3D, 0, device="cpu"), bright(SCORER_3D, 1), params, validate=lambda _: next(scores))
    run(job, reports.append)
    assert reports[-1].done == 10
    assert [r.payload["score"] for r in reports[1::2]] == [0.1, 0.5, 0.4, 0.5, 0.3]


def test_stopped_it_gives_the_best_so_far() -> None:
    seen, reports = {}, []
    scores = iter([0.2, 0.9, 0.5])

    def validate(model: Predictor) -> float:
        score = next(scores)
        seen[score] = model.card.digest
        return score

    params = FitParams(steps=100, validate_every=2)
    model = new_model(SCORER_3D, 0, device="cpu")
    job = fit(model, bright(SCORER_3D, 1), params, validate=validate, stop=lambda: len(reports) == 7)
    assert run(job, reports.append).card.digest == seen[0.9]
    assert len(reports) == 7
    at_once = run(fit(model, bright(SCORER_3D, 1), params, stop=lambda: True))
    assert at_once.card == model.card


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_too_little_memory_is_said_in_a_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object) -> None:
        raise error

    monkeypatch.setattr("napari_connecto.models.training.losses.mixed_loss", short)
    model = new_model(SCORER_3D, 0, device="cpu")
    message = r"batches of \(4, 1, 16, 32, 32\) does not fit into the memory of cpu; use fewer or smaller patches"
    with pytest.raises(ModelError, match=message):
        run(fit(model, bright(SCORER_3D, 1), FitParams(steps=2)))


def test_params_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="got dice=2"):
        FitParams(dice=2)
