"""The least size of a mask, and what is missed because of it or in spite of it, against labels drawn to size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.report import report_lines
from napari_connecto.workflows.cascade.search.detect import detect
from napari_connecto.workflows.cascade.thresholds.calibrate import calibrate_job
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.training.examples import from_labels
from napari_connecto.workflows.cascade.training.least_size import SMALL, least_voxels
from tests.workflows import fakes


def discs(radii, nm=(500.0, 500.0, 500.0), sections=1):
    """Discs of these radii (voxels) in rows of one section, or balls in a stack, as instances."""
    pitch = int(2 * max(radii) + 4)
    side = int(np.ceil(np.sqrt(len(radii))))
    out = np.zeros((sections, side * pitch, side * pitch), np.uint32)
    z, y, x = np.indices(out.shape)
    for n, r in enumerate(radii):
        cy, cx = (pitch * v + pitch // 2 for v in divmod(n, side))
        out[np.hypot(np.hypot(y - cy, x - cx), (z - sections // 2) * (sections > 1)) <= r] = n + 1
    return Volume((Level(out, nm),), kind="labels")


def least_of(labels, level=None):
    examples = from_labels(labels, "masks")
    return least_voxels(examples, examples.target.box, level or examples.target), examples


@pytest.mark.parametrize("seed", range(2))
def test_few_labelled_objects_lie_below_the_least_size_however_thick_the_section(seed):
    radii = np.random.default_rng(seed).lognormal(np.log(8), 0.5, 60)
    least, examples = least_of(discs(radii))
    assert np.mean(examples.voxels < least) <= SMALL
    assert least == pytest.approx(np.quantile(examples.voxels, SMALL, method="lower") / 4, abs=1)
    for thickness in (1.0, 50.0, 50_000.0):
        assert least_of(discs(radii, (thickness, 500.0, 500.0)))[0] == least


def test_volumes_count_voxels():
    least, examples = least_of(discs([5] * 4, (500.0, 500.0, 500.0), 13))
    assert least == pytest.approx(examples.voxels[0] / 8, abs=1)


def test_sections_of_a_stack_count_areas():
    flat = discs([6] * 9).levels[0].array[0]
    stack = np.stack([flat, np.where(flat > 0, flat + 9, 0), np.where(flat > 0, flat + 18, 0)])
    least, examples = least_of(Volume((Level(stack, (90.0, 5.0, 5.0)),), kind="labels"))
    assert examples.flat
    assert least == (flat == 1).sum() // 4


def test_specks_do_not_count_however_many_they_are():
    labels = discs([9] * 16)
    array = labels.levels[0].array.copy()
    clean = least_of(labels)[0]
    free = np.argwhere(array[0] == 0)[::7][:200]
    for n, (y, x) in enumerate(free, start=100):
        array[0, y, x] = n
    assert least_of(Volume((Level(array, labels.levels[0].voxel_nm),), kind="labels"))[0] == clean


def test_few_objects_of_any_size_are_kept():
    assert least_of(discs([3, 9]))[0] <= 29 // 4
    assert least_of(discs([0.5, 0.5]))[0] == 1


def test_the_least_size_is_on_the_grid_that_is_searched():
    labels = discs([8] * 9)
    finer = Level(np.zeros((1, 8, 8), np.uint8), (500.0, 250.0, 250.0))
    assert least_of(labels, finer)[0] == pytest.approx(4 * least_of(labels)[0], abs=3)


FACTORS = ((1, 2, 2),)


@pytest.fixture(scope="module")
def small_and_large():
    """6 large and 4 small spots, searched with a least size between the two."""
    shape = (4, 128, 128)
    image, truth = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    grids = np.indices(shape)
    for n in range(10):
        centre, r = (2, 14 + 32 * (n // 3), 14 + 40 * (n % 3)), (1.5, 2, 2) if n >= 6 else (1.5, 7, 7)
        r2 = sum(((g - c) / s) ** 2 for g, c, s in zip(grids, centre, r, strict=True))
        image = np.maximum(image, np.where(r2 <= 1, 255, 0).astype(np.uint8))
        truth[r2 <= 1] = n + 1
    labels = Volume.from_array(truth, fakes.NM, kind="labels")
    volume, cascade = fakes.pyramid(image, FACTORS), fakes.cascade(factors=FACTORS)
    rule = replace(cascade.rule, min_voxels=120)
    job = calibrate_job(volume, from_labels(labels, "masks"), Box.of(shape), cascade.stages, rule)
    calibration, rule = run(job)
    return volume, Cascade("spots", cascade.stages, rule, calibration)


def test_calibration_counts_what_the_least_size_removes(small_and_large):
    _, cascade = small_and_large
    held_out = cascade.calibration.held_out
    assert (held_out.found.sum(), len(held_out.found), held_out.too_small, held_out.false) == (6, 10, 4, 0)
    assert held_out.sentence == (
        "An exhaustive search finds 6 of 10 held-out objects (60 %, 95 % CI 26 to 88 %); 4 of those missed are smaller "
        "than the minimum size of 120 voxels; 0 of 6 detections there are false; F1 0.75 (95 % CI 0.42 to 0.94); masks "
        "overlap the labels with "
        f"a Dice of {held_out.dice:.2f}."
    )
    again = Calibration.from_json(cascade.calibration.to_json()).held_out
    assert (again.found.tolist(), again.sentence) == (held_out.found.tolist(), held_out.sentence)
    old = {k: v for k, v in cascade.calibration.to_json().items() if k != "held_out"}
    assert Calibration.from_json(old).held_out is None


def test_a_search_reports_the_recall_of_labelled_objects(small_and_large):
    volume, cascade = small_and_large
    found = detect(volume, cascade, DetectParams(audit=5))
    told = found.report["held_out"]
    assert (told["labelled"], told["found"], told["exhaustive"]) == (10, 6, 6)
    assert told["interval"] == pytest.approx([0.262, 0.878], abs=0.001)
    assert any(
        "find 6 of 10 held-out objects (60 %, 95 % CI 26 to 88 %)" in line for line in report_lines(found.report)
    )


def test_an_exhaustive_search_claims_no_recall_of_a_gating(small_and_large):
    volume, cascade = small_and_large
    report = detect(volume, cascade, DetectParams(exhaustive=True, audit=5)).report
    assert report["recall"] is None
    assert report["reason"] == "Exhaustive search requested."
    assert report["held_out"]["found"] == 6
    gated = detect(volume, cascade, DetectParams(audit=0)).report
    assert (gated["recall"] is None) == (len(gated["levels"]) == 1)


def test_no_recall_is_claimed_for_another_threshold_than_was_measured(small_and_large):
    volume, cascade = small_and_large
    other = 0.2 if cascade.rule.threshold != 0.2 else 0.3
    assert "held_out" not in detect(volume, cascade, DetectParams(threshold=other, audit=0)).report


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_least_size_is_the_same_volume_on_every_grid(factor):
    z, y, x = np.mgrid[:40, :40, :40]
    truth = ((z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 64).astype(np.uint8)
    examples = from_labels(Volume.from_array(truth, (10, 10, 10), kind="labels"), "masks")
    coarse = Level(np.zeros([40 // factor] * 3, np.uint8), (10.0 * factor,) * 3)
    least = least_voxels(examples, examples.target.box, coarse)
    assert least == pytest.approx(truth.sum() / 8 / factor**3, rel=0.1, abs=4)
