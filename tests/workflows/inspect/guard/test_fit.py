"""A guard that is fitted finds what it was fitted for, and its command writes what the function returns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import new_model, save_model
from napari_connecto.models.inspect.pair import PairLoss, judge_card
from napari_connecto.workflows.inspect.guard.check import check_pair
from napari_connecto.workflows.inspect.guard.fit import fit_guard_job
from napari_connecto.workflows.inspect.guard.guard import Guard
from napari_connecto.workflows.inspect.guard.params import GuardParams
from napari_connecto.workflows.inspect.guard.scenes import HALO, INNER
from tests.workflows.inspect.guard.test_guard import NATIVE, NM, Threshold, answer, calibration, image

FEW = GuardParams(scenes=24, pairs=120, steps=80, tiles=60, width=8, label_kind="instances", false_alarm=0.1)


def truth(array: np.ndarray) -> np.ndarray:
    return np.where(array > 127.5, 1, 0).astype(np.uint8)


@pytest.mark.slow
def test_a_fitted_guard_finds_a_planted_error(tmp_path: Path):
    """Of a threshold as model: its answers always agree with what it sees, so only planted faults can be told."""
    array = image(1, (12, 192, 192))
    stages = set()
    guard = run(fit_guard_job(Threshold(), [(array, truth(array))], FEW), lambda p: stages.add(p.stage))
    assert len(stages) == 4
    assert guard.kind == "masks"
    assert guard.usual > 0.99
    assert guard.combined is None  # a model without an encoder has no input check
    assert guard.by_pair.measured <= 0.2
    volume, hole = Volume.from_array(image(2), NM), Box((1, 60, 60), (2, 120, 120))
    check = check_pair(volume, answer(volume, hole), guard, out=tmp_path / "check")
    error = np.asarray(check.error.levels[0].array[:]) / 255
    assert error[hole.slices].mean() > 3 * error[0].mean()
    assert check.worst[0].box.overlaps(hole)


def test_the_loss_is_least_where_map_and_quality_are_right():
    import torch

    target = torch.zeros(2, 2, 1, 8, 8)
    target[:, 0, :, :4] = 1
    target[0, 1], target[1, 1] = 0.9, 0.2
    weight = torch.ones_like(target)
    right = torch.logit(target.clamp(0.01, 0.99))
    loss = PairLoss()
    best = float(loss(right, target, weight))
    assert best < float(loss(-right, target, weight))
    swapped = right.clone()
    swapped[:, 1] = right.flip(0)[:, 1]
    assert best < float(loss(swapped, target, weight))
    weight[:, 1] = 0  # unknown scores do not count
    assert float(loss(swapped, target, weight)) == pytest.approx(float(loss(right, target, weight)))


@pytest.mark.slow
def test_the_command_writes_the_check(tmp_path: Path):
    card = save_model(new_model(NATIVE, 1, device="cpu"), tmp_path / "model")
    judge = new_model(judge_card(card, INNER, HALO, 4), 2, device="cpu")
    Guard(judge, card, "foreground", "masks", 0.9, calibration(), None).save(tmp_path / "model")
    volume = Volume.from_array(image(), NM)
    save_volume(volume, tmp_path / "image.ome.zarr")
    save_volume(answer(volume), tmp_path / "answer.ome.zarr")
    words = ["guard", "check", tmp_path / "image.ome.zarr", tmp_path / "answer.ome.zarr"]
    words += ["--model", tmp_path / "model", "--out", tmp_path / "out", "--places", "3"]
    done = CliRunner().invoke(cli, [str(w) for w in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert all(line in " ".join(done.output.split()) for line in report["lines"])
    assert len(json.loads((tmp_path / "out" / "worst.json").read_text())) == 3
    assert (tmp_path / "out" / "recipe.yaml").is_file()
