from __future__ import annotations

import json
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.errors import ChunkError, InputError, ModelError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.model import Output, Scaling
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.files import new_model
from napari_connecto.workflows.cascade.cascade import Cascade, load_cascade
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.report import report_lines
from napari_connecto.workflows.cascade.search.detect import detect, detect_job
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.ood.check import (
    OodCheck,
    gate_check_job,
    holding,
    own_shape,
    read_tiles,
    slabs,
    source_gate_job,
    surroundings,
    tile_shape,
)
from napari_connecto.workflows.ood.document import KEY, OLD_KEY
from napari_connecto.workflows.ood.files import load_gate, save_gate
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.ood.gaussian import Gaussian
from napari_connecto.workflows.ood.judgement import Judgement
from napari_connecto.workflows.segment.predict import predict
from napari_connecto.workflows.segment.segment import segment
from napari_connecto.workflows.shared.patches import candidates
from tests.compute.parts import Chunked
from tests.models.cards import SCORER_25D, SMP_25D, UNET_2D, UNET_3D
from tests.workflows import fakes

NM = UNET_2D.voxel_nm


def cells(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Smooth structure that fills a volume, uint8."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0.5, 3, 3))
    return np.clip(128 + 500 * noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    return new_model(UNET_2D, 1, device="cpu")


@pytest.fixture(scope="module")
def gate(model) -> Gate:
    level = Level(cells((20, 144, 144), 0), NM)
    return run(source_gate_job(level, Scaling(0, 255), model, tiles=100))


def test_a_volume_like_the_source_passes_and_another_asks(model, gate):
    assert (gate.tiles, gate.blocks, gate.shape) == (100, 10, (1, 48, 48))
    same = run(gate_check_job(Volume((Level(cells((20, 144, 144), 1), NM),)), model, gate))
    assert not same.warns
    assert len(same.judgement.outside) == 32
    assert same.to_json()["checked"]
    assert same.to_json()["interval"] == list(gate.interval)
    other = run(gate_check_job(Volume((Level(255 - cells((20, 144, 144), 1) // 2, NM),)), model, gate, name="fly"))
    assert other.warns
    assert other.judgement.share == 1
    assert other.sentence.startswith("32 of 32 tiles are out of distribution for 'fly' (")


def test_what_cannot_be_read_is_not_looked_at(model, gate):
    data = cells((20, 144, 144), 1)
    data[:, :48, :48] = 0
    volume = Volume((Level(Chunked(data, (20, 48, 48), broken=[(0, 0, 0)]), NM),))
    assert "is damaged" in run(gate_check_job(volume, model, gate, tiles=150)).reason
    check = run(gate_check_job(volume, model, gate, tiles=150, damaged=True))
    assert not check.warns
    assert 0 < len(check.judgement.outside) <= 8 * 20


def test_only_the_region_is_looked_at(model, gate):
    image = cells((20, 144, 144), 1)
    image[:, 72:] = 255 - image[:, 72:] // 2
    volume = Volume((Level(image, NM),))
    low, high = (Box((0, y, 0), (20, y + 72, 144)) for y in (0, 72))
    assert not run(gate_check_job(volume, model, gate, region=low)).warns
    assert run(gate_check_job(volume, model, gate, region=high)).judgement.share > 0.9


def test_a_part_of_one_place_is_judged_with_what_lies_around_it():
    """Thirty sections of one place are one place: of 16 such parts of a training set 2 were warned of."""
    everything = Box((0, 0, 0), (30, 400, 400))
    one = Box((0, 100, 0), (30, 164, 64))
    assert surroundings(one, (1, 48, 48), everything) == Box((0, 60, 0), (30, 204, 104))
    three = Box((0, 0, 0), (30, 72, 144))
    assert surroundings(three, (1, 48, 48), everything) == three


def test_what_cannot_be_checked_says_why(model, gate):
    volume = Volume((Level(np.full((4, 96, 96), 7, np.uint8), NM),))
    none = run(gate_check_job(volume, model, None))
    assert (none.warns, none.to_json()["checked"]) == (False, False)
    assert none.sentence == "Out-of-distribution check for 'small' skipped: not fitted for this model."
    empty = run(gate_check_job(volume, model, gate))
    assert (empty.warns, empty.to_json()["warns"]) == (True, True)
    assert "No tissue found: 16 patches are constant or noise. Check the image" in empty.sentence

    noise = np.random.default_rng(0).integers(0, 256, (20, 144, 144)).astype(np.uint8)
    some = run(gate_check_job(Volume((Level(noise, NM),)), model, gate, tiles=2))  # of 180 places 50 are looked at
    assert some.warns
    assert "50 patches are constant or noise" in some.sentence

    class Damaged:
        shape, dtype = (4, 96, 96), np.dtype("uint8")

        def __getitem__(self, index):
            raise ChunkError("chunk 0/0/0 cannot be decoded")

    broken = Volume((Level(Damaged(), NM),))
    assert "chunk 0/0/0 cannot be decoded" in run(gate_check_job(broken, model, gate, level=broken.levels[0])).sentence
    with pytest.raises(ModelError, match="fit one for this model"):
        run(gate_check_job(volume, new_model(UNET_2D, 2, device="cpu"), gate))
    with pytest.raises(InputError, match="no tissue found to fit the out-of-distribution check to"):
        run(source_gate_job(volume.levels[0], Scaling(), model))


def test_tiles_are_what_the_model_reads():
    assert tile_shape(UNET_3D) == (16, 32, 32)
    assert tile_shape(SCORER_25D) == (3, 48, 48)
    assert tile_shape(replace(SMP_25D, tile=(2, 256, 256))) == (5, 96, 96)
    image = cells((20, 64, 64), 0)
    level = Level(image, NM)
    assert own_shape(UNET_3D, (16, 32, 32)) == (8, 16, 16)
    assert own_shape(SMP_25D, (5, 96, 96)) == (1, 96, 96)
    drawn = candidates(level, (8, 16, 16), 9).boxes
    for part, (box, tile) in zip(drawn, read_tiles(level, Scaling(), (16, 32, 32), drawn), strict=True):
        assert box == part.grow((4, 8, 8))
        assert box.shape == (16, 32, 32)
        inside = box.clip(level.shape)
        at = inside.shift([-v for v in box.start]).slices
        np.testing.assert_array_equal(tile[0][at], image[inside.slices])
    low = Level(image[:3, :20, :20], NM)
    small = next(read_tiles(low, Scaling(), (16, 32, 32), [low.box]))[1]
    assert small.shape == (1, 16, 32, 32)
    np.testing.assert_array_equal(small[0, 0], small[0, 1])  # beyond the rim its edge is repeated


def test_blocks_are_slabs_across_z_or_where_there_are_few_sections_the_axis_with_most_places():
    starts = [(z, y, 0) for z in range(30) for y in (0, 96)]
    assert slabs(starts).tolist() == [z // 3 for z in range(30) for _ in (0, 96)]
    assert slabs([(0, 0, 0), (0, 5, 0)]).tolist() == [0, 1]
    animals = [(z, y, 0) for z in range(5) for y in range(0, 960, 96)]
    assert slabs(animals).tolist() == [z for z, _, _ in animals]


def test_boxes_hold_their_objects_and_stay_inside():
    places, within = np.random.default_rng(0).uniform(0, [8, 64, 64], (50, 3)), Box((0, 0, 0), (8, 64, 64))
    boxes = holding(places, (4, 16, 16), within, 20, seed=1)
    chosen = np.random.default_rng(1).permutation(places)[:20]
    for box, place in zip(boxes, chosen, strict=True):
        assert within.contains(box)
        assert box.shape == (4, 16, 16)
        assert (np.array(box.start) <= place).all()
        assert (place < np.array(box.stop)).all()
    assert len({box.start for box in boxes}) == 20
    assert holding(places[:1], (16, 16, 16), within, 5, seed=0)[0].shape == (8, 16, 16)


def test_gate_round_trip(gate, tmp_path):
    assert load_gate(tmp_path) is None
    save_gate(gate, tmp_path)
    again = load_gate(tmp_path)
    for field in fields(Gate):
        if field.name != "gaussian":
            assert getattr(again, field.name) == getattr(gate, field.name)
    for field in fields(Gaussian):
        np.testing.assert_allclose(getattr(again.gaussian, field.name), getattr(gate.gaussian, field.name), rtol=1e-6)


@pytest.mark.parametrize("damage", ["figures", "arrays", "shape", "nan", "huge", "pickle", "counts"])
def test_a_damaged_gate_is_refused(gate, tmp_path, damage):
    save_gate(gate, tmp_path)
    arrays = dict(np.load(tmp_path / "gate.npz"))
    if damage == "figures":
        (tmp_path / "gate.json").write_text("{")
    elif damage == "counts":
        told = json.loads((tmp_path / "gate.json").read_text())
        (tmp_path / "gate.json").write_text(json.dumps({**told, "alarms": 1000}))
    elif damage == "arrays":
        (tmp_path / "gate.npz").write_bytes(b"PK nothing")
    elif damage == "shape":
        np.savez(tmp_path / "gate.npz", **{**arrays, "mean": arrays["mean"][:-1]})
    elif damage == "nan":
        np.savez(tmp_path / "gate.npz", **{**arrays, "mean": arrays["mean"] * np.nan})
    elif damage == "pickle":
        np.savez(tmp_path / "gate.npz", **{**arrays, "mean": np.array([{}], object)}, allow_pickle=True)
    else:
        with zipfile.ZipFile(tmp_path / "gate.npz", "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("mean.npy", bytes(65 * 2**20))
    with pytest.raises(
        ModelError,
        match=r"the out-of-distribution check in '.*' is damaged \(.*\); copy the folder again, or remove gate.json",
    ):
        load_gate(tmp_path)


def test_a_cascade_keeps_its_gate_and_one_without_still_opens(model, gate, tmp_path):
    made = Cascade("c", (model,), ObjectRule("masks", 0.5, 160.0, 4), fakes.calibration(()), gate=gate)
    made.save(tmp_path)
    again = load_cascade(tmp_path, device="cpu", backend="torch")
    assert again.gate.sentence == gate.sentence
    assert again.gate.space == again.cards[0].digest
    other = Volume((Level(255 - cells((20, 144, 144), 1) // 2, NM),))
    report = detect(other, again, DetectParams(audit=0), out=tmp_path / "found").report
    assert report["ood"]["warns"]
    assert report_lines(report)[-1] == report["ood"]["sentence"]
    assert report["ood"]["sentence"].startswith("32 of 32 tiles are out of distribution for 'c'")
    (tmp_path / "gate.json").unlink()
    assert load_cascade(tmp_path, device="cpu", backend="torch").gate is None


def test_what_a_user_answered_is_kept_and_nothing_is_checked_again(tmp_path):
    answered = OodCheck("spots", Judgement(np.ones(4), np.zeros(4), np.ones(4, bool), 0.05), answer="run anyway")
    volume = fakes.pyramid(fakes.spots())
    found = run(detect_job(volume, fakes.cascade(), DetectParams(audit=0), out=tmp_path / "a", check=answered))
    assert found.report["ood"]["answer"] == "run anyway"
    assert Detections.load(tmp_path / "a").report["ood"]["outside"] == 4


def test_a_search_and_a_map_say_that_nothing_was_checked(tmp_path):
    volume = fakes.pyramid(fakes.spots())
    reports = [detect(volume, fakes.cascade(), DetectParams(audit=0, ood_check=g)).report for g in ("warn", "off")]
    assert [r["ood"]["checked"] for r in reports] == [False, False]
    assert "not fitted for this model" in report_lines(reports[0])[-1]
    assert report_lines(reports[1])[-1].endswith("skipped: switched off.")
    older = {**{key: value for key, value in reports[0].items() if key != KEY}, OLD_KEY: reports[0][KEY]}
    assert report_lines(older) == report_lines(reports[0])  # reports of earlier versions
    made = predict(volume, fakes.Blur(fakes.NM), out=tmp_path)
    assert made.metadata["ood"]["sentence"].endswith("skipped: not fitted for this model.")
    assert json.loads((tmp_path / "ood_check.json").read_text()) == made.metadata["ood"]


def test_a_segmentation_says_what_the_gate_of_its_model_said(gate, model):
    class Boundary:
        card = replace(model.card, outputs=(Output("boundary"),))

        def __call__(self, batch, seeds):
            return {"boundary": batch[:, 0] * 0}

    said = OodCheck("small", gate.judge(np.ones((32, len(gate.gaussian.mean))) * 9, np.zeros(32)), gate=gate)
    labels = segment(Volume((Level(cells((2, 64, 64), 1), NM),)), model=Boundary(), gate=said)
    assert labels.metadata["ood"] == said.to_json()
    assert labels.metadata["ood"]["outside"] == 32
