"""Folders of images: what each file states is used or refused."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.shared.spec import describe
from tests.io.travel import travelled
from tests.io.volumes.tiffs import STACK, UUIDS, image, ome, planes, sizes, write


def test_pixels_and_thickness_that_the_sections_state_are_the_voxel_size(tmp_path):
    for k, section in enumerate(STACK):
        write(tmp_path / f"{k}.ome.tif", section, ome(image(0, planes(), size=sizes(0.05, 0.01, 0.008))))
    volume = travelled(open_volume(tmp_path))
    assert volume.calibrated
    assert volume.levels[0].voxel_nm == pytest.approx((50, 10, 8))
    np.testing.assert_array_equal(volume.levels[0].read(volume.levels[0].box), STACK)
    write(tmp_path / "5.ome.tif", STACK[5], ome(image(0, planes(), size=sizes(0.05, 0.02, 0.02))))
    with pytest.raises(InputError, match=r"5.ome.tif' states another voxel size than .*0.ome.tif'; .*--voxel-nm"):
        open_volume(tmp_path)
    assert open_volume(tmp_path, voxel_nm=(9, 8, 7)).levels[0].voxel_nm == (9, 8, 7)


def test_without_a_thickness_the_distance_of_sections_is_not_stated(tmp_path):
    for k, section in enumerate(STACK):
        tifffile.imwrite(tmp_path / f"{k}.tif", section, imagej=True, resolution=(2, 4), metadata={"unit": "um"})
    volume = open_volume(tmp_path)
    assert not volume.calibrated
    assert volume.levels[0].voxel_nm == (1, 1, 1)


def test_colours_and_channels_of_sections(tmp_path):
    colour = np.random.default_rng(0).integers(0, 255, (3, 40, 50)).astype("u1")
    for k, how in enumerate(({"planarconfig": "separate"}, {"planarconfig": "contig"})):
        (tmp_path / str(k)).mkdir()
        array = colour if k == 0 else colour.transpose(1, 2, 0)
        tifffile.imwrite(tmp_path / str(k) / "0.tif", array, photometric="rgb", **how)
        np.testing.assert_array_equal(open_volume(tmp_path / str(k), channel="all").levels[0].array[:, 0], colour)


@pytest.mark.parametrize("case", ["several images", "a stack", "a set", "a missing file"])
def test_files_that_are_no_section_are_refused(tmp_path, case):
    two = "".join(planes(0, 1, z=k, file=f"{k}.ome.tif", uuid=UUIDS[k]) for k in range(2))
    described = [ome(image(0, two, z=2), uuid=UUIDS[k]) for k in range(2)]
    if case == "several images":
        for k, array in enumerate((STACK[0], STACK[1, :20])):
            tifffile.imwrite(tmp_path / "0.tif", array, append=k > 0)
    elif case == "a stack":
        tifffile.imwrite(tmp_path / "0.tif", STACK[:, :40, :4], photometric="minisblack")
    else:
        for k in range(2 if case == "a set" else 1):
            write(tmp_path / f"{k}.ome.tif", STACK[k], described[k])
    says = {
        "several images": r"several images in '.*0.tif'",
        "a stack": r"has shape \(6, 40, 4\), a section is",
        "a set": r"has shape \(2, 40, 50\), a section is",
        "a missing file": r"'1.ome.tif' cannot be read",
    }
    with pytest.raises(InputError, match=says[case]):
        open_volume(tmp_path)


def test_a_section_that_is_damaged_is_named_when_it_is_read(tmp_path):
    for k, section in enumerate(STACK):
        tifffile.imwrite(tmp_path / f"{k}.tif", section, compression="zlib")
    with tifffile.TiffFile(tmp_path / "3.tif") as file:
        place, count = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    data = bytearray((tmp_path / "3.tif").read_bytes())
    data[place : place + count] = b"\xff" * count
    (tmp_path / "3.tif").write_bytes(data)
    level = open_volume(tmp_path).levels[0]
    with pytest.raises(ChunkError, match=r"section 3 '.*3.tif' cannot be read"):
        level.read(level.box)


def test_a_name_is_no_pattern(tmp_path):
    for name in ("a*", "ab"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "0.tif", STACK[int(name == "ab")])
    level = open_volume(tmp_path / "a*").levels[0]
    np.testing.assert_array_equal(level.read(level.box)[0], STACK[0])


def test_pictures_of_16_bits_and_animations(tmp_path):
    Image.fromarray(STACK[0]).save(tmp_path / "a.png")
    level = open_volume(tmp_path / "a.png").levels[0]
    assert level.dtype == np.uint16
    np.testing.assert_array_equal(level.read(level.box)[0], STACK[0])
    frames = [Image.fromarray((section // 256).astype("u1")) for section in STACK]
    frames[0].save(tmp_path / "b.png", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="is an animation of 6 images"):
        open_volume(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((0, 1, 3), "1 section seems to be missing, the first after 's1.png'"),
        ((10, 20, 30, 60, 70, 90), "3 sections seem to be missing, the first after 's30.png'"),
        ((0, 5, 10), None),
        ((1, 2, 4, 8, 16), None),
        ((8, 9, 10), None),
        ((7,), None),
    ],
)
def test_numbers_that_the_names_skip_are_told(tmp_path, numbers, told):
    for number in numbers:
        Image.fromarray(np.full((4, 5), number, "u1")).save(tmp_path / f"s{number}.png")
    volume = open_volume(tmp_path)
    notes = volume.metadata.get("notes", [])
    assert [note.split(";")[0] for note in notes] == ([told] if told else [])
    assert volume.levels[0].read(volume.levels[0].box)[:, 0, 0].tolist() == list(numbers)
    assert [line for line in describe(volume) if line.startswith("note: ")] == [f"note: {note}" for note in notes]
