"""Training: learns on a phantom, the same way each time, and what is saved is what was trained."""

from __future__ import annotations

import signal
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from napari_connecto.core.errors import Cancelled, InputError, ModelError, VoxelSizeError
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume_job
from napari_connecto.models.files import new_model
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.evaluate import evaluate
from napari_connecto.workflows.cascade.params import DetectParams, TrainParams
from napari_connecto.workflows.cascade.report import report_lines
from napari_connecto.workflows.cascade.search.coarser import with_coarser
from napari_connecto.workflows.cascade.search.detect import detect
from napari_connecto.workflows.cascade.training.design import design, stage_card, with_working_level
from napari_connecto.workflows.cascade.training.examples import from_labels, from_points
from napari_connecto.workflows.cascade.training.stage import BUDGETS, planned
from napari_connecto.workflows.cascade.training.summary import summarise
from napari_connecto.workflows.cascade.training.train import train_cascade, train_cascade_job
from tests import tiny
from tests.workflows.watched import watched


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two scenes of one kind: a pyramid and its truth each."""
    folder = tmp_path_factory.mktemp("scenes")
    found = []
    for seed in (1, 2):
        image, truth = tiny.cells(seed)
        run(save_volume_job(image, folder / f"{seed}.ome.zarr", levels=2))
        found.append((open_volume(folder / f"{seed}.ome.zarr"), truth))
    return found


@pytest.mark.slow
def test_learns_saves_and_finds_cells_elsewhere(scenes, tmp_path):
    (image, truth), (other, other_truth) = scenes
    seen = []
    params = TrainParams("cells", head="centres", steps=60, width=4, seed=0, device="cpu")
    cascade = watched(train_cascade_job(image, truth, params), seen.append)
    stages = list(dict.fromkeys(p.stage for p in seen))
    assert stages[:3] == ["training level 0", "training level 1", "measuring level 0"]
    assert len(cascade.stages) == 2
    assert cascade.metadata["params"]["steps"] == 60
    everywhere = detect(other, cascade, DetectParams(exhaustive=True, audit=0))
    assert evaluate(everywhere, other_truth).objects.f1 > 0.5
    cascade.save(tmp_path / "cascade")
    again = load_cascade(tmp_path / "cascade", backend="torch")
    assert (again.rule, again.name) == (cascade.rule, "cells")
    assert again.choose().thresholds == cascade.choose().thresholds
    back = detect(other, again, DetectParams(exhaustive=True, audit=0))
    np.testing.assert_array_equal(back.centre_nm, everywhere.centre_nm)
    np.testing.assert_array_equal(back.score, everywhere.score)
    path = tmp_path / "cascade/level_0/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelError, match="the card says"):
        load_cascade(tmp_path / "cascade")


@pytest.mark.slow
def test_the_same_seed_trains_the_same_weights(scenes):
    image, truth = scenes[0]
    params = TrainParams("cells", steps=10, width=2, levels=1, seed=4, device="cpu")
    a, b, other = (train_cascade(image, truth, p) for p in (params, params, replace(params, seed=5)))
    assert [card.digest for card in a.cards] == [card.digest for card in b.cards]
    np.testing.assert_array_equal(a.calibration.scores[0], b.calibration.scores[0])
    assert a.rule == b.rule
    assert [card.digest for card in a.cards] != [card.digest for card in other.cards]


@pytest.mark.slow
def test_closing_stops_training(scenes):
    image, truth = scenes[0]
    job = train_cascade_job(image, truth, TrainParams("cells", steps=1000, width=2, device="cpu"))
    for _ in range(3):
        next(job)
    job.close()
    with pytest.raises(StopIteration):
        next(job)


def volume_of(shape, voxel_nm, levels=1):
    found, array = [], np.zeros(shape, np.uint8)
    for k in range(levels):
        z, y, x = voxel_nm
        found.append(Level(array, (z, y * 2**k, x * 2**k)))
        array = array[:, ::2, ::2]
    return Volume(tuple(found))


def objects_in(volume, diameter_nm):
    level = volume.levels[0]
    return from_points(level.to_nm(np.array(level.shape) / 2)[None], diameter_nm, level)


@pytest.mark.parametrize(
    ("shape", "voxel_nm", "dims", "halo_z", "trimmed"),
    [
        ((16, 256, 256), (40, 8, 8), "2.5d", 1, 1),
        ((1, 256, 256), (40, 8, 8), "2d", 0, 0),
        ((16, 256, 256), (100, 8, 8), "2d", 0, 0),  # an object of 100 nm is seen in one section
        ((32, 128, 128), (8, 8, 8), "3d", 4, 0),
    ],
)
def test_dimensions_follow_the_voxels(shape, voxel_nm, dims, halo_z, trimmed):
    volume = volume_of(shape, voxel_nm, 2)
    cards = design(volume, objects_in(volume, 100.0), TrainParams())
    assert cards == design(volume, objects_in(volume, 100.0), TrainParams(dims=dims))
    assert [card.voxel_nm for card in cards] == [level.voxel_nm for level in volume.levels]
    assert [card.tile for card in cards] == [cards[0].tile] * 2
    assert all(card.halo[0] == halo_z for card in cards)
    assert cards[0].outputs[0].stride == (1, 1, 1)
    assert cards[0].outputs[0].trimmed == (trimmed, 0, 0)
    assert cards[1].outputs[0].stride[1:] == (4, 4)


def test_levels_that_do_not_show_the_object_are_left_out():
    volume = volume_of((8, 256, 256), (8, 8, 8), 4)
    assert len(design(volume, objects_in(volume, 40.0), TrainParams())) == 2  # 40 nm: 5, 2.5, 1.25 voxels
    assert len(design(volume, objects_in(volume, 130.0), TrainParams(levels=3))) == 3
    assert len(design(volume, objects_in(volume, 130.0), TrainParams())) == 4


@pytest.mark.parametrize(("across", "factor"), [(5, 1), (12, 1), (16, 1), (18, 2), (33, 2), (40, 4), (100, 8)])
def test_the_finest_level_in_use_shows_objects_8_to_17_voxels_across(across, factor):
    volume = volume_of((1, 512, 512), (40, 8, 8), 5)
    finest = design(volume, objects_in(volume, across * 8.0), TrainParams())[0]
    assert finest.voxel_nm == (40, 8 * factor, 8 * factor)
    assert factor == 1 or 8 <= across / factor <= 17


def test_a_level_between_two_stored_ones_is_averaged_where_it_suits_the_objects():
    stored = volume_of((1, 512, 512), (40, 8, 8), 4)
    sparse = replace(stored, levels=(stored.levels[0], stored.levels[3]))
    volume = with_working_level(sparse, objects_in(sparse, 50 * 8.0), TrainParams())
    assert [level.voxel_nm[2] for level in volume.levels] == [8, 32, 64]


@pytest.mark.parametrize(("sections", "flat"), [(1, False), (8, True)])
def test_sections_are_never_averaged_where_networks_see_them_one_by_one(sections, flat):
    volume = with_coarser(volume_of((sections, 512, 512), (1, 1, 1)))
    examples = replace(objects_in(volume, 48.0), flat=flat)
    volume = with_working_level(volume, examples, TrainParams())
    cards = design(volume, examples, TrainParams())
    assert [card.voxel_nm for card in cards][:2] == [(1, 4, 4), (1, 8, 8)]
    assert [card.tile[0] for card in cards] == [1] * len(cards)
    levels = [volume.level_at(card.voxel_nm) for card in cards]
    assert [level.shape[0] for level in levels] == [sections] * len(cards)


@pytest.mark.parametrize("budget", sorted(BUDGETS))
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_all_levels_together_keep_to_the_budget_and_leave_time_to_measure(budget, levels):
    times = [planned(TrainParams(budget=budget), k, levels)[1] for k in range(levels)]
    assert 0.85 < sum(times) / BUDGETS[budget].seconds < 0.95
    assert min(times) > 0
    assert planned(TrainParams(budget=budget, steps=7), 0, levels) == (7, 0.0)


def discs(*radii):
    """Labels of discs in a row, 8 pixels apart."""
    side = 2 * max(radii) + 8
    labels = np.zeros((1, max(256, side), max(256, sum(2 * r + 8 for r in radii))), np.uint16)
    y, x = np.ogrid[: labels.shape[1], : labels.shape[2]]
    at = 0
    for n, radius in enumerate(radii, start=1):
        labels[0][(y - side // 2) ** 2 + (x - at - radius - 4) ** 2 <= radius**2] = n
        at += 2 * radius + 8
    return Volume.from_array(labels, (1, 1, 1), kind="labels")


@pytest.mark.parametrize(
    ("radii", "asked", "depth", "halo"),
    [
        ((6,) * 9, {}, 3, 16),
        ((6,) * 9 + (11,), {}, 3, 16),  # its middle sees its rim
        ((6,) * 9 + (28,), {}, 4, 32),
        ((6,) * 40 + (8,) * 40 + (16,), {}, 3, 16),  # a single one among many
        ((6,) * 9 + (28,), {"tile": (1, 20, 20)}, 3, 16),  # three downsamplings do not divide it
    ],
)
def test_where_large_objects_make_up_much_the_network_sees_to_their_rims(radii, asked, depth, halo):
    labels = discs(*radii)
    finest = design(labels, from_labels(labels, "masks"), TrainParams(**asked))[0]
    assert (finest.network["depth"], finest.halo) == (depth, (0, halo, halo))
    assert finest.voxel_nm == (1, 1, 1)  # still by the typical object


@pytest.mark.parametrize("far", [False, True])
def test_a_halo_covers_what_the_network_sees(far):
    level = Level(np.zeros((1, 256, 256), np.uint8), (1, 1, 1))
    card = stage_card(level, 0, (1, 64, 64), "2d", TrainParams(), far=far)
    model = new_model(card, 0, device="cpu")
    rng, side = np.random.default_rng(0), 64 + 2 * 64
    near, other = rng.uniform(size=(2, 1, 1, 1, side, side)).astype(np.float32)
    seen = slice(64 - card.halo[1], 128 + card.halo[1])
    other[..., seen, seen] = near[..., seen, seen]
    a, b = (model(image, [0])["foreground"][0, 0, 64:128, 64:128] for image in (near, other))
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert np.ptp(a) > 1e-3


def test_long_thin_objects_are_measured_across():
    labels = np.zeros((1, 64, 200), np.uint8)
    labels[0, 10:14, 5:195] = labels[0, 30:34, 5:195] = 1
    examples = from_labels(Volume.from_array(labels, (1, 1, 1), kind="labels"), "masks")
    assert examples.width_nm == pytest.approx(4, abs=1)
    assert examples.diameter_nm > 20


def test_what_cannot_be_trained_is_refused_at_once():
    volume = volume_of((8, 64, 64), (8, 8, 8))
    far = Volume((Level(np.ones((4, 8, 8), np.uint8), (8, 8, 8), (1e6, 0, 0)),), kind="labels")
    with pytest.raises(InputError, match="check their scale and position"):
        train_cascade(volume, far)
    bare = replace(far, calibrated=False)
    with pytest.raises(InputError, match="the labels are in pixels, the other of the two is in nm; give both a voxel"):
        train_cascade(volume, bare)
    with pytest.raises(InputError, match="the image is in pixels"):
        train_cascade(replace(volume, calibrated=False), far)
    with pytest.raises(InputError, match=r"the labels span \(1000000, 0, 0\) to \(1000032, 64, 64\) pixels"):
        train_cascade(replace(volume, calibrated=False), bare)
    with pytest.raises(InputError, match=r"objects \(1\) cannot be split"):
        train_cascade(volume, objects_in(volume, 40.0))
    with pytest.raises(InputError, match="encoders are 2-D: choose dims 2d or"):
        design(volume, objects_in(volume, 40.0), TrainParams(encoder="resnet18", dims="3d"))
    with pytest.raises(InputError, match="the labels are empty"):
        train_cascade(volume, Volume.from_array(np.zeros((8, 64, 64), np.uint8), (8, 8, 8), kind="labels"))


def test_examples_know_their_objects():
    truth = tiny.cells(1)[1]
    examples = from_labels(truth, "masks")
    assert len(examples.centres_nm) == len(np.unique(truth.levels[0].array)) - 1
    assert examples.diameter_nm == pytest.approx(8000, rel=0.1)


@pytest.mark.slow
def test_stacks_without_pyramid_or_voxel_size_are_trained_on_and_searched(tmp_path):
    """Two TIFFs, as a microscope leaves them: the same cascade as of the pyramid of 1 nm voxels that they make."""
    image, truth = tiny.cells(1)
    for name, volume in (("image", image), ("labels", truth)):
        level = volume.levels[0]
        tifffile.imwrite(tmp_path / f"{name}.tif", np.asarray(level.read(level.box)), photometric="minisblack")
    stack, labels = (open_volume(tmp_path / f"{name}.tif") for name in ("image", "labels"))
    assert not stack.calibrated
    params = TrainParams("cells", steps=10, width=2, device="cpu")
    cascade = train_cascade(stack, labels, params)
    assert len(cascade.stages) > 1
    run(save_volume_job(open_volume(tmp_path / "image.tif", voxel_nm=(1, 1, 1)), tmp_path / "image.zarr"))
    pyramid = open_volume(tmp_path / "image.zarr")
    sized = train_cascade(pyramid, open_volume(tmp_path / "labels.tif", voxel_nm=(1, 1, 1)), params)
    assert [card.digest for card in cascade.cards] == [card.digest for card in sized.cards]
    cascade.save(tmp_path / "cascade")
    cascade = load_cascade(tmp_path / "cascade", backend="torch")
    found, expected = (detect(v, c, DetectParams(audit=4)) for v, c in ((stack, cascade), (pyramid, sized)))
    np.testing.assert_array_equal(found.centre_nm, expected.centre_nm)
    assert found.report["unit"] == "pixel"
    assert "(1x1x1 pixels)" in "\n".join(report_lines(found.report))
    with pytest.raises(VoxelSizeError, match="'cells' was trained in pixels"):
        detect(pyramid, cascade)
    with pytest.raises(VoxelSizeError, match="states no voxel size"):
        detect(stack, sized)


def test_stopping_keeps_the_best_so_far_and_leaves_out_what_was_not_begun(scenes):
    image, truth = scenes[0]
    params, made = TrainParams("cells", steps=200, width=2, seed=0, device="cpu"), []
    job = train_cascade_job(image, truth, params, stop=lambda: len(made) >= 12)
    cascade = run(job, lambda p: made.append(p) if p.stage.startswith("training") else None)
    assert len(cascade.stages) == 1
    assert cascade.metadata["stopped"] == {"level": 0, "steps": 12, "of": 200, "levels": 2}
    assert cascade.calibration.held_out is not None
    said = summarise(cascade).lines
    line = "Stopped at level 0 after 12 of 200 steps; the best state is kept. Not trained: 1 coarser level."
    assert any(line in text for text in said)


def test_stopping_before_the_first_step_is_a_cancel(scenes):
    image, truth = scenes[0]
    params = TrainParams("cells", steps=200, width=2, device="cpu")
    with pytest.raises(Cancelled, match="stopped before the first step of training; nothing was kept"):
        run(train_cascade_job(image, truth, params, stop=lambda: True))


@pytest.mark.slow
def test_the_first_interrupt_stops_and_keeps_the_second_cancels(tmp_path):
    image, truth = tiny.cells(1)
    for volume, name in ((image, "image"), (truth, "truth")):
        run(save_volume_job(volume, tmp_path / f"{name}.ome.zarr", levels=2))
    command = ("train-cascade", tmp_path / "image.ome.zarr", "--labels", tmp_path / "truth.ome.zarr", "--width", "2")
    for name, interrupts, code in (("kept", 1, 0), ("gone", 2, 130)):
        process = tiny.start(*command, "--steps", "50000", "--out", tmp_path / name)
        tiny.wait_for(process, "training level 0", 20)
        process.send_signal(signal.SIGINT)
        told = next(line for line in process.stderr if "Ctrl-C again" in line)  # before, a second one would be lost
        if interrupts == 2:
            process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=120)
        errors = told + errors
        assert process.returncode == code, errors
        assert "Stopping after this step; the best so far is kept. Press Ctrl-C again to cancel." in errors
        assert (tmp_path / name / "cascade.json").exists() == (code == 0)
        assert not (tmp_path / name / "stop").exists()
        if code == 0:
            assert "Stopped at level 0 after" in out
    assert len(load_cascade(tmp_path / "kept").stages) == 1
