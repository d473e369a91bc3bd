"""TIFF, HDF5 and images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import fsspec
import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.geometry import Box
from napari_connecto.io.volumes.read import open_volume
from tests.io.travel import travelled

STACK = np.random.default_rng(0).integers(0, 60000, (6, 40, 50)).astype("u2")
BOX = Box((1, 5, 7), (4, 20, 33))


def everything(volume, level=0):
    return volume.levels[level].read(volume.levels[level].box)


# TIFF --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "tile": (16, 16)},
        {"compression": "zlib", "rowsperstrip": 7},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
    ],
    ids=str,
)
def test_stacks_of_every_layout(tmp_path, how):
    tifffile.imwrite(tmp_path / "s.tif", STACK, **how)
    volume = travelled(open_volume(tmp_path / "s.tif"))
    level = volume.levels[0]
    assert (volume.name, volume.calibrated, level.dtype) == ("s", False, np.uint16)
    assert level.dtype.isnative
    assert level.voxel_nm == (1, 1, 1)
    np.testing.assert_array_equal(level.read(BOX), STACK[BOX.slices])
    np.testing.assert_array_equal(everything(volume), STACK)


def test_threads_may_read_one_file_together(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", STACK, compression="zlib", tile=(16, 16))
    level = open_volume(tmp_path / "s.tif").levels[0]
    boxes = [Box((z, y, 0), (z + 1, y + 10, 50)) for z in range(6) for y in range(0, 40, 10)] * 4
    with ThreadPoolExecutor(4) as pool:
        for box, block in zip(boxes, pool.map(level.read, boxes), strict=True):
            np.testing.assert_array_equal(block, STACK[box.slices])


def test_only_pages_that_are_asked_for_are_decoded_and_damaged_ones_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", STACK, compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "s.tif") as file:
        places = [(page.dataoffsets[0], page.databytecounts[0]) for page in file.pages]
    data = bytearray((tmp_path / "s.tif").read_bytes())
    for offset, count in places[3:]:
        data[offset : offset + count] = b"\xff" * count
    (tmp_path / "s.tif").write_bytes(data)
    level = travelled(open_volume(tmp_path / "s.tif")).levels[0]
    assert level.array.chunks == (1, 40, 50)
    np.testing.assert_array_equal(level.read(Box((0, 0, 0), (3, 40, 50))), STACK[:3])
    with pytest.raises(ChunkError, match=r"chunk \(3, 0, 0\) of .*s\.tif' is damaged") as caught:
        level.read(level.box)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_cut_files_are_refused(tmp_path, compression):
    tifffile.imwrite(tmp_path / "s.tif", STACK, compression=compression)
    data = (tmp_path / "s.tif").read_bytes()
    (tmp_path / "s.tif").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"(is damaged|cannot open) .*complete|copy it again") as caught:
        open_volume(tmp_path / "s.tif")
    assert "\n" not in str(caught.value)


def test_imagej_states_voxel_sizes(tmp_path):
    stack = np.stack([STACK, STACK[::-1]], axis=1)
    metadata = {"spacing": 2.0, "unit": "um", "axes": "ZCYX"}
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, resolution=(1 / 0.5, 1 / 0.25), metadata=metadata)
    with pytest.raises(InputError, match="got 2 channels and none picked"):
        open_volume(tmp_path / "s.tif")
    volume = open_volume(tmp_path / "s.tif", channel=1)
    assert volume.calibrated
    assert volume.levels[0].voxel_nm == pytest.approx((2000, 250, 500))
    np.testing.assert_array_equal(everything(volume), STACK[::-1])
    np.testing.assert_array_equal(
        everything(open_volume(tmp_path / "s.tif", channel="all")), np.stack([STACK, STACK[::-1]])
    )


def test_ome_tiff_states_voxel_sizes_and_may_be_a_pyramid(tmp_path):
    sizes = {"PhysicalSizeX": 4, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 5, "PhysicalSizeYUnit": "nm"}
    metadata = {"axes": "ZYX", **sizes, "PhysicalSizeZ": 0.03, "PhysicalSizeZUnit": "µm"}
    with tifffile.TiffWriter(tmp_path / "p.ome.tif") as writer:
        writer.write(STACK, subifds=1, tile=(16, 16), metadata=metadata)
        writer.write(STACK[:, ::2, ::2], subfiletype=1, tile=(16, 16))
    volume = travelled(open_volume(tmp_path / "p.ome.tif"))
    assert [level.voxel_nm for level in volume.levels] == [pytest.approx((30, 5, 4)), pytest.approx((30, 10, 8))]
    np.testing.assert_array_equal(everything(volume, 0), STACK)
    np.testing.assert_array_equal(everything(volume, 1), STACK[:, ::2, ::2])
    assert open_volume(tmp_path / "p.ome.tif", voxel_nm=(50, 10, 8)).levels[1].voxel_nm == (50, 20, 16)


def test_incomplete_voxel_sizes_do_not_count_as_calibrated(tmp_path):
    tifffile.imwrite(tmp_path / "s.ome.tif", STACK, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5})
    assert not open_volume(tmp_path / "s.ome.tif").calibrated
    tifffile.imwrite(tmp_path / "r.tif", STACK, resolution=(72, 72), resolutionunit="INCH")
    assert not open_volume(tmp_path / "r.tif").calibrated


def test_colour_time_and_series(tmp_path):
    colour = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype("u1")
    tifffile.imwrite(tmp_path / "c.tif", colour, photometric="rgb", compression="zlib")
    np.testing.assert_array_equal(
        everything(open_volume(tmp_path / "c.tif", channel="all")), colour.transpose(2, 0, 1)[:, None]
    )
    np.testing.assert_array_equal(everything(open_volume(tmp_path / "c.tif", channel=2)), colour[None, ..., 2])
    movie = STACK.reshape(3, 2, 40, 50)
    tifffile.imwrite(tmp_path / "t.tif", movie, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(InputError, match="got 3 times and none picked"):
        open_volume(tmp_path / "t.tif")
    np.testing.assert_array_equal(everything(open_volume(tmp_path / "t.tif", time=2)), movie[2])
    with tifffile.TiffWriter(tmp_path / "m.tif") as writer:
        writer.write(STACK[:2])
        writer.write(STACK[0, :10, :11])
    assert open_volume(tmp_path / "m.tif", array="1").levels[0].shape == (1, 10, 11)
    with pytest.raises(InputError, match=r"got array='2'; .* has 2 series"):
        open_volume(tmp_path / "m.tif", array="2")
    with pytest.raises(InputError, match="it is the number of a series"):
        open_volume(tmp_path / "m.tif", array="em")


def test_tiff_at_a_url(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", STACK, compression="zlib")
    with fsspec.open("memory://m/s.tif", "wb") as file:
        file.write((tmp_path / "s.tif").read_bytes())
    volume = travelled(open_volume("memory://m/s.tif"))
    np.testing.assert_array_equal(volume.levels[0].read(BOX), STACK[BOX.slices])
    with pytest.raises(InputError, match=r"no file at 'memory://m/none.tif'"):
        open_volume("memory://m/none.tif")


def test_revision_of_a_file_changes_with_it(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", STACK)
    first = open_volume(tmp_path / "s.tif")
    assert first.fingerprint() == open_volume(tmp_path / "s.tif").fingerprint()
    tifffile.imwrite(tmp_path / "s.tif", STACK + 1)
    assert first.fingerprint() != open_volume(tmp_path / "s.tif").fingerprint()


# HDF5 --------------------------------------------------------------------------------------------------------------


def test_hdf5_dataset_is_lazy_and_reopens_where_it_is_unpickled(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("a/raw", data=STACK, chunks=(2, 20, 25), compression="gzip")
        file["a/raw"].attrs["element_size_um"] = (0.05, 0.004, 0.008)
        file["a/labels"] = STACK > 100
        file["a/points"] = np.zeros(7)
    with pytest.raises(InputError, match=r"images in .*choose array= one of 'a/labels', 'a/raw' \(--array NAME\)$"):
        open_volume(tmp_path / "v.h5")
    with pytest.raises(InputError, match="no image 'a/points' in"):
        open_volume(tmp_path / "v.h5", array="a/points")
    volume = travelled(open_volume(tmp_path / "v.h5", array="a/raw"))
    assert volume.calibrated
    level = volume.levels[0]
    assert level.voxel_nm == pytest.approx((50, 4, 8))
    assert level.array.chunks == (2, 20, 25)
    np.testing.assert_array_equal(level.read(BOX), STACK[BOX.slices])


def test_only_dataset_needs_no_name_and_resolution_is_nm(tmp_path):
    with h5py.File(tmp_path / "v.hdf5", "w") as file:
        file["raw"] = STACK.astype(">u2")
        file["raw"].attrs["resolution"] = (40.0, 4.0, 4.0)
    volume = open_volume(tmp_path / "v.hdf5")
    assert volume.levels[0].voxel_nm == (40, 4, 4)
    assert volume.levels[0].dtype.isnative
    np.testing.assert_array_equal(everything(volume), STACK)


def test_damaged_hdf5(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        dataset = file.create_dataset("raw", data=STACK, chunks=(2, 40, 50), compression="gzip")
        place = dataset.id.get_chunk_info(2)
    data = bytearray((tmp_path / "v.h5").read_bytes())
    data[place.byte_offset : place.byte_offset + place.size] = b"\xff" * place.size
    (tmp_path / "v.h5").write_bytes(data)
    level = open_volume(tmp_path / "v.h5").levels[0]
    np.testing.assert_array_equal(level.read(Box((0, 0, 0), (4, 40, 50))), STACK[:4])
    with pytest.raises(ChunkError, match=r"chunk \(2, 0, 0\) of .* dataset 'raw' is damaged"):
        level.read(level.box)
    (tmp_path / "cut.h5").write_bytes(data[:500])
    with pytest.raises(InputError, match=r"cannot open .* as HDF5"):
        open_volume(tmp_path / "cut.h5")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["table"] = np.zeros(3)
    with pytest.raises(InputError, match="holds no array of numbers with 2 to 5 axes"):
        open_volume(tmp_path / "w.h5")


# images --------------------------------------------------------------------------------------------------------------


def test_folder_of_sections_in_natural_order(tmp_path):
    sections = (STACK // 256).astype("u1")
    for k, section in enumerate(sections):
        Image.fromarray(section).save(tmp_path / f"section_{k * 5}.png")  # 0 5 10 15 20 25
    (tmp_path / "notes.txt").write_text("x")
    volume = travelled(open_volume(tmp_path))
    assert not volume.calibrated
    assert volume.levels[0].array.chunks == (1, 40, 50)
    np.testing.assert_array_equal(volume.levels[0].read(BOX), sections[BOX.slices])
    np.testing.assert_array_equal(everything(volume), sections)
    (tmp_path / "section_15.png").write_bytes((tmp_path / "section_15.png").read_bytes()[:300])
    with pytest.raises(ChunkError, match=r"section 3 '.*section_15.png' cannot be read"):
        everything(volume)
    np.testing.assert_array_equal(volume.levels[0].read(Box((0, 0, 0), (3, 40, 50))), sections[:3])
    Image.fromarray(sections[0].astype("u2")).save(tmp_path / "section_15.png")
    with pytest.raises(ChunkError, match=r"section 3 .* is 40x50 uint16, the first is 40x50 uint8"):
        everything(volume)


def test_folder_of_tiff_sections_and_colour(tmp_path):
    for k, section in enumerate(STACK):
        tifffile.imwrite(tmp_path / f"{k:03d}.tif", section, byteorder=">")
    np.testing.assert_array_equal(everything(open_volume(tmp_path)), STACK)
    colour = np.random.default_rng(0).integers(0, 255, (3, 40, 50, 3)).astype("u1")
    (tmp_path / "c").mkdir()
    for k in range(3):
        Image.fromarray(colour[k]).save(tmp_path / "c" / f"{k}.png")
    volume = open_volume(tmp_path / "c", channel="all")
    np.testing.assert_array_equal(
        volume.levels[0].read(Box((1, 2, 3), (3, 9, 8))), colour[1:3, 2:9, 3:8].transpose(3, 0, 1, 2)
    )


def test_one_picture_and_label_pictures_keep_their_ids(tmp_path):
    ids = np.array([[0, 1], [7, 200]], np.uint8)
    picture = Image.fromarray(ids, mode=None)
    picture.putpalette([c for k in range(256) for c in (k, 255 - k, 0)])
    picture.save(tmp_path / "l.png")
    volume = open_volume(tmp_path / "l.png", voxel_nm=(4, 4))
    assert volume.levels[0].voxel_nm == (4, 4, 4)
    np.testing.assert_array_equal(everything(volume), ids[None])


def test_folders_that_are_no_volume_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), "u1")).save(tmp_path / "0.png")
    Image.fromarray(np.zeros((4, 5), "u1")).save(tmp_path / "1.png")
    with pytest.raises(InputError, match=r"1.png' is \(4, 5\) voxels, .*0.png' \(4, 4\); sections of one folder"):
        open_volume(tmp_path)
    tifffile.imwrite(tmp_path / "2.tif", STACK)
    with pytest.raises(InputError, match="images of several types"):
        open_volume(tmp_path)
    (tmp_path / "stacks").mkdir()
    tifffile.imwrite(tmp_path / "stacks" / "2.tif", STACK)
    with pytest.raises(InputError, match=r"has shape \(6, 40, 50\), a section is"):
        open_volume(tmp_path / "stacks")
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"cannot open .*x.png' as an image"):
        open_volume(tmp_path / "x.png")
    with pytest.raises(InputError, match="got array='a'; images have none"):
        open_volume(tmp_path / "0.png", array="a")


# real data -----------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_real_stacks_open_as_they_are(real_data):
    volume = open_volume(real_data / "epfl_ca1" / "image.tif", voxel_nm=(5, 5, 5))
    assert volume.levels[0].shape == (27, 768, 1024)
    np.testing.assert_array_equal(
        volume.levels[0].read(Box((3, 100, 200), (5, 400, 900))),
        tifffile.imread(real_data / "epfl_ca1" / "image.tif")[3:5, 100:400, 200:900],
    )
    nuclei = open_volume(real_data / "dsb2018_fluorescence" / "nuclei.h5", array="00071198d059/image")
    assert nuclei.levels[0].shape == (1, 256, 256)
    kidney = open_volume(real_data / "kidney_pas" / "NTN.png", channel="all")
    assert kidney.levels[0].array.shape == (3, 1, 640, 640)


def test_the_origin_that_is_given_counts(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 6, 8), np.uint8), photometric="minisblack")
    assert open_volume(tmp_path / "a.tif", voxel_nm=(40, 8, 8)).levels[0].origin_nm == (0, 0, 0)
    volume = open_volume(tmp_path / "a.tif", voxel_nm=(40, 8, 8), origin_nm=(-20, 4, 800))
    assert volume.levels[0].origin_nm == (-20, 4, 800)
    assert volume.outline()["origin_nm"] == [-20, 4, 800]
    for wrong in ((1, 2), (1, 2, float("nan")), "abc", 3):
        with pytest.raises(InputError, match="give three numbers in nm"):
            open_volume(tmp_path / "a.tif", origin_nm=wrong)
