"""What a TIFF states of its images, planes, files, axes, units and origin is used or refused, never ignored."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_connecto.core.errors import ChoiceError, InputError
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.tiff import series as tiff_series
from tests.io.travel import travelled
from tests.io.volumes.tiffs import STACK, UUIDS, image, lsm, ome, planes, sizes, write


def opened(path, **how):
    volume = travelled(open_volume(path, **how))
    level = volume.levels[0]
    return volume, level.read(level.box)


# images, planes and files of OME-XML --------------------------------------------------------------------------------


def test_sizes_are_those_of_the_image_that_has_pixels_here(tmp_path):
    xml = ome(image(0, z=3, size=sizes(9, 9, 9)), image(1, planes(0, 6), z=6, size=sizes(0.04, 0.008, 0.004)))
    volume, voxels = opened(write(tmp_path / "a.ome.tif", STACK, xml))
    assert volume.levels[0].voxel_nm == pytest.approx((40, 8, 4))
    np.testing.assert_array_equal(voxels, STACK)


def test_images_are_matched_by_their_planes_whatever_their_order(tmp_path):
    late = image(0, planes(3, 3), z=3, name="late", size=sizes(1, 1, 1))
    early = image(1, planes(0, 3), z=3, name="early", size=sizes(2, 2, 2))
    write(tmp_path / "b.ome.tif", STACK, ome(late, early), compression="zlib")
    with pytest.raises(ChoiceError, match=r"0: 'late' 3 x 40 x 50 \(ZYX\), uint16; 1: 'early'.*--array N") as caught:
        open_volume(tmp_path / "b.ome.tif")
    assert caught.value.lines[1:] == (
        "0: 'late' 3 x 40 x 50 (ZYX), uint16",
        "1: 'early' 3 x 40 x 50 (ZYX), uint16",
    )
    for array, part, nm in (("0", STACK[3:], 1000), ("1", STACK[:3], 2000)):
        volume, voxels = opened(tmp_path / "b.ome.tif", array=array)
        assert volume.levels[0].voxel_nm == (nm, nm, nm)
        np.testing.assert_array_equal(voxels, part)


@pytest.fixture
def three_files(tmp_path):
    """A stack of 6 sections in three files, each with the whole OME-XML."""
    every = "".join(planes(0, 2, z=2 * k, file=f"m{k}.ome.tif", uuid=UUIDS[k]) for k in range(3))
    for k in range(3):
        xml = ome(image(0, every, z=6, size=sizes(0.04, 0.008, 0.008)), uuid=UUIDS[k])
        write(tmp_path / f"m{k}.ome.tif", STACK[2 * k : 2 * k + 2], xml)
    return tmp_path


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_set_of_files_is_one_stack_from_each_of_them(three_files, first):
    volume, voxels = opened(three_files / f"m{first}.ome.tif")
    assert volume.levels[0].voxel_nm == pytest.approx((40, 8, 8))
    np.testing.assert_array_equal(voxels, STACK)


@pytest.mark.parametrize(("first", "gone"), [(0, 1), (0, 2), (2, 0), (1, 2)])
def test_a_file_of_a_set_that_is_missing_is_named(three_files, first, gone):
    (three_files / f"m{gone}.ome.tif").unlink()
    with pytest.raises(InputError, match=rf"several files, of which 'm{gone}.ome.tif' cannot be read; copy all"):
        open_volume(three_files / f"m{first}.ome.tif")


@pytest.mark.parametrize("content", [b"", b"no TIFF at all"])
def test_a_file_of_a_set_that_is_no_tiff_is_named(three_files, content):
    (three_files / "m1.ome.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"of which 'm1.ome.tif' cannot be read"):
        open_volume(three_files / "m0.ome.tif")


def test_files_of_a_set_that_are_not_alike_are_refused(three_files):
    tifffile.imwrite(three_files / "m1.ome.tif", STACK[2:4].astype("u1"), photometric="minisblack", metadata=None)
    with pytest.raises(InputError, match=r"different kinds .40 x 50 uint16, NONE; 40 x 50 uint8, NONE"):
        open_volume(three_files / "m0.ome.tif")


def test_pages_that_belong_to_no_image_are_told(tmp_path):
    volume, voxels = opened(write(tmp_path / "a.ome.tif", STACK, ome(image(0, planes(0, 3), z=3))))
    assert volume.metadata["notes"] == ["3 of its 6 pages belong to an image"]
    np.testing.assert_array_equal(voxels, STACK[:3])


def test_a_set_at_a_url_is_refused(three_files):
    import fsspec

    with fsspec.open("memory://set/m0.ome.tif", "wb") as file:
        file.write((three_files / "m0.ome.tif").read_bytes())
    with pytest.raises(InputError, match=r"of which 'm1.ome.tif', 'm2.ome.tif' cannot be read; download all of them"):
        open_volume("memory://set/m0.ome.tif")


def test_of_one_position_per_file_the_one_in_this_file_is_opened(tmp_path):
    for k in range(2):
        every = [
            image(j, planes(0, 3, file=f"p{j}.ome.tif", uuid=UUIDS[j]), z=3, name=f"pos{j}", size=sizes(1 + j, 1, 1))
            for j in range(2)
        ]
        write(tmp_path / f"p{k}.ome.tif", STACK[3 * k : 3 * k + 3], ome(*every, uuid=UUIDS[k]))
    volume, voxels = opened(tmp_path / "p1.ome.tif")
    assert volume.levels[0].voxel_nm == (2000, 1000, 1000)
    assert volume.metadata["notes"] == ["not opened: 0: 'pos0' 3 x 40 x 50 (ZYX), uint16"]
    np.testing.assert_array_equal(voxels, STACK[3:])
    (tmp_path / "p0.ome.tif").unlink()
    np.testing.assert_array_equal(opened(tmp_path / "p1.ome.tif")[1], STACK[3:])


@pytest.fixture
def companion(tmp_path):
    """Three files that refer to a companion."""
    every = "".join(planes(0, 2, z=2 * k, file=f"c{k}.ome.tif", uuid=UUIDS[k]) for k in range(3))
    xml = ome(image(0, every, z=6, size=sizes(0.05, 0.01, 0.01)), uuid=UUIDS[8])
    (tmp_path / "set.companion.ome").write_text(xml)
    binary = f'<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:{UUIDS[8]}"/>'
    for k in range(3):
        write(tmp_path / f"c{k}.ome.tif", STACK[2 * k : 2 * k + 2], ome(binary, uuid=UUIDS[k]))
    return tmp_path


@pytest.mark.parametrize("name", ["c0.ome.tif", "c2.ome.tif", "set.companion.ome"])
def test_a_companion_says_what_the_set_is(companion, name):
    volume, voxels = opened(companion / name)
    assert volume.levels[0].voxel_nm == pytest.approx((50, 10, 10))
    np.testing.assert_array_equal(voxels, STACK)


def test_a_set_without_its_companion_or_a_file_is_refused(companion):
    (companion / "c1.ome.tif").unlink()
    with pytest.raises(InputError, match=r"of which 'c1.ome.tif' cannot be read"):
        open_volume(companion / "c0.ome.tif")
    (companion / "set.companion.ome").unlink()
    with pytest.raises(InputError, match=r"are written in 'set.companion.ome', which cannot be read"):
        open_volume(companion / "c0.ome.tif")


def test_another_tiff_of_the_set_may_be_the_companion(tmp_path):
    parts = [planes(0, 3, z=3 * k, file=f"b{k}.ome.tif", uuid=UUIDS[k]) for k in range(2)]
    write(tmp_path / "b0.ome.tif", STACK[:3], ome(image(0, "".join(parts), z=6), uuid=UUIDS[0]))
    binary = f'<BinaryOnly MetadataFile="b0.ome.tif" UUID="urn:uuid:{UUIDS[0]}"/>'
    write(tmp_path / "b1.ome.tif", STACK[3:], ome(binary, uuid=UUIDS[1]))
    np.testing.assert_array_equal(opened(tmp_path / "b1.ome.tif")[1], STACK)


@pytest.mark.parametrize(
    ("described", "says"),
    [
        (image(0, planes(0, z=0) + planes(1, z=2), z=3), "does not say where 1 of 3 planes are"),
        (image(0, planes(0, 3), z=3), "does not say where some of 3 planes are"),
        (image(0, z=1, c=2), "does not fit its pages"),
        (image(0, planes(0, 2), z=2).replace("50", "60"), "does not fit its pages"),
        (image(0, planes(0, 2, file="../b.ome.tif", uuid=UUIDS[3]), z=2), "'../b.ome.tif', a file outside its folder"),
        (image(0, planes(0, 2, file="b.ome.tif", uuid=UUIDS[3]), z=2), "'b.ome.tif' cannot be read"),
        ("<Image", "OME-XML of .* cannot be read"),
    ],
)
def test_planes_that_are_nowhere_are_never_zeros(tmp_path, described, says):
    with pytest.raises(InputError, match=says):
        open_volume(write(tmp_path / "a.ome.tif", STACK[:2], ome(described, uuid=UUIDS[0])))


def test_a_file_that_was_renamed_is_itself(tmp_path):
    described = ome(image(0, planes(0, 6, file="old.ome.tif", uuid=UUIDS[0]), z=6), uuid=UUIDS[0])
    np.testing.assert_array_equal(opened(write(tmp_path / "new.ome.tif", STACK, described))[1], STACK)


@pytest.mark.parametrize(("order", "picked"), [("XYZCT", STACK[3:]), ("XYCZT", STACK[1::2])])
def test_the_order_of_planes_is_that_of_the_xml(tmp_path, order, picked):
    described = ome(image(0, planes(0, 6), z=3, c=2, order=order))
    path = write(tmp_path / "a.ome.tif", STACK, described)
    np.testing.assert_array_equal(opened(path, channel=1)[1], picked)


# which image --------------------------------------------------------------------------------------------------------


def append(path, arrays, **how):
    for k, array in enumerate(arrays):
        tifffile.imwrite(path, array, append=k > 0, photometric="minisblack", **how)
    return path


@pytest.mark.parametrize("how", [{}, {"compression": "zlib", "tile": (16, 16)}, {"byteorder": ">"}, {"metadata": None}])
def test_sections_that_were_appended_are_a_stack(tmp_path, how):
    path = append(tmp_path / "s.tif", STACK, **how)
    volume, voxels = opened(path)
    assert volume.levels[0].array.chunks in ((1, 40, 50), (1, 16, 16), None)
    np.testing.assert_array_equal(voxels, STACK)
    if how.get("metadata", 1):
        np.testing.assert_array_equal(opened(path, array="3")[1], STACK[3:4])


@pytest.mark.parametrize("xml", [None, "<OME><<Image/></OME>", '<OME><BinaryOnly MetadataFile="../a.ome"/></OME>'])
def test_a_file_that_is_refused_is_closed(tmp_path, monkeypatch, xml):
    """Also while the error is held: else nobody could replace the file on Windows."""
    path = append(tmp_path / "s.tif", [STACK, STACK]) if xml is None else write(tmp_path / "s.ome.tif", STACK, xml)
    seen, made = [], tifffile.TiffFile.__init__

    def noted(self, *arguments, **keywords):
        seen.append(self)
        made(self, *arguments, **keywords)

    monkeypatch.setattr(tifffile.TiffFile, "__init__", noted)
    with pytest.raises(InputError) as held:
        open_volume(path)
    assert held.value.args
    assert [file.filehandle.closed for file in seen] == [True] * len(seen) != []


@pytest.mark.parametrize(
    "arrays",
    [[STACK, STACK], [STACK[0], STACK[1].astype("u1")], [STACK[0], STACK[1][:20]], [STACK, STACK[0]]],
    ids=["stacks", "types", "sizes", "stack and section"],
)
def test_images_that_are_no_stack_are_listed(tmp_path, arrays):
    path = append(tmp_path / "s.tif", arrays)
    with pytest.raises(ChoiceError, match=r"several images in '.*s.tif' \(0: .*; 1: .*--array N") as caught:
        open_volume(path)
    assert len(caught.value.lines) == 3
    for k, array in enumerate(arrays):
        np.testing.assert_array_equal(opened(path, array=str(k))[1].reshape(array.shape), array)


def test_images_with_names_are_no_stack(tmp_path):
    for k, name in enumerate(("raw", "mask")):
        tifffile.imwrite(tmp_path / "s.tif", STACK[k], append=k > 0, metadata={"name": name})
    with pytest.raises(ChoiceError, match=r"0: 'raw' 40 x 50 .*; 1: 'mask' 40 x 50"):
        open_volume(tmp_path / "s.tif")


@pytest.mark.parametrize("first", [True, False])
def test_a_thumbnail_is_not_the_image(tmp_path, first):
    with tifffile.TiffWriter(tmp_path / "s.tif") as writer:
        for thumbnail in (first, not first):
            writer.write(STACK[0, ::4, ::4] if thumbnail else STACK, subfiletype=int(thumbnail))
    volume, voxels = opened(tmp_path / "s.tif")
    assert volume.metadata["notes"] == [f"not opened: {int(not first)}: 10 x 13 (YX), uint16"]
    np.testing.assert_array_equal(voxels, STACK)


def test_of_a_slide_the_scan_is_opened_at_its_own_scale(tmp_path):
    scan = np.random.default_rng(2).integers(0, 255, (256, 256, 3)).astype("u1")
    pages = [
        (scan, "256x256 [0,0 256x256] (64x64) |AppMag = 20|MPP = 0.4990", {"tile": (64, 64)}),
        (scan[::4, ::4], "256x256 -> 64x64", {}),
        (scan[::4, ::4], "256x256 [0,0 256x256] (64x64) -> 64x64", {"tile": (64, 64)}),
        (scan[:30, :40], "label 40x30", {"subfiletype": 1}),
        (scan[:30, :50], "macro 50x30", {"subfiletype": 9}),
    ]
    with tifffile.TiffWriter(tmp_path / "s.svs") as writer:
        for array, told, how in pages:
            told = f"Aperio Image Library v1\r\n{told}"
            writer.write(array, description=told, metadata=None, photometric="rgb", **how)
    volume, voxels = opened(tmp_path / "s.svs", channel=1)
    assert [level.voxel_nm for level in volume.levels] == [(499, 499, 499), (499, 1996, 1996)]
    assert [note.split(" ")[3] for note in volume.metadata["notes"]] == ["'Thumbnail'", "'Label'", "'Macro'"]
    np.testing.assert_array_equal(voxels[0], scan[..., 1])


def test_zeiss_lsm_states_its_voxel_size_and_has_thumbnails(tmp_path):
    volume, voxels = opened(lsm(tmp_path / "a.lsm", STACK, (1e-6, 2e-7, 1e-7)))
    assert volume.calibrated
    assert volume.levels[0].voxel_nm == pytest.approx((1000, 200, 100))
    np.testing.assert_array_equal(voxels, STACK)


# units and axes -----------------------------------------------------------------------------------------------------


def imagej(path, **metadata):
    tifffile.imwrite(path, STACK, imagej=True, resolution=(2, 4), metadata={"axes": "ZYX", **metadata})
    return path


@pytest.mark.parametrize(
    ("stated", "voxel_nm"),
    [
        ({"spacing": 2.0, "unit": "um"}, (2000, 250, 500)),
        ({"spacing": 2.0, "unit": "\\u00B5m"}, (2000, 250, 500)),
        ({"spacing": 2.0, "unit": "micron"}, (2000, 250, 500)),
        ({"spacing": 2.0, "unit": "Microns"}, (2000, 250, 500)),
        ({"spacing": 2.0, "unit": "nm"}, (2, 0.25, 0.5)),
        ({"spacing": 2.0, "unit": "cm"}, (2e7, 2.5e6, 5e6)),
        ({"spacing": 2.0, "unit": "inch"}, (2 * 2.54e7, 2.54e7 / 4, 2.54e7 / 2)),
        ({"spacing": 50.0, "unit": "um", "zunit": "nm"}, (50, 250, 500)),
        ({"spacing": 2.0, "unit": "um", "yunit": "nm", "zunit": "mm"}, (2e6, 0.25, 500)),
        ({"spacing": -2.0, "unit": "nm"}, (2, 0.25, 0.5)),
        ({"spacing": 2.0, "unit": "um", "zunit": "pixel"}, None),
        ({"spacing": 2.0, "unit": "pixel"}, None),
        ({"spacing": 2.0}, None),
        ({"unit": "nm"}, None),
        ({"spacing": "NaN", "unit": "nm"}, None),
    ],
)
def test_units_of_imagej_count_per_axis(tmp_path, stated, voxel_nm):
    volume = open_volume(imagej(tmp_path / "a.tif", **stated))
    assert volume.calibrated is (voxel_nm is not None)
    if voxel_nm:
        assert volume.levels[0].voxel_nm == pytest.approx(voxel_nm)


def test_sizes_in_pixels_are_ratios_and_a_part_of_a_size_is_none(tmp_path):
    assert open_volume(imagej(tmp_path / "a.tif", spacing=2.0, unit="pixel")).levels[0].voxel_nm == (2, 0.25, 0.5)
    mixed = open_volume(imagej(tmp_path / "b.tif", spacing=2.0, unit="um", zunit="pixel"))
    assert mixed.levels[0].voxel_nm == (1, 1, 1)


def test_the_origin_that_imagej_states_is_used(tmp_path):
    volume = open_volume(imagej(tmp_path / "a.tif", spacing=2.0, unit="nm", xorigin=10, yorigin=-4, zorigin=1))
    assert volume.levels[0].origin_nm == pytest.approx((-2, 1, -5))
    none = open_volume(imagej(tmp_path / "b.tif", spacing=2.0, unit="nm"))
    assert str(none.levels[0].origin_nm) == "(0.0, 0.0, 0.0)"


@pytest.mark.parametrize(
    ("stated", "voxel_nm"),
    [
        (sizes(0.04, 0.008, 0.004), (40, 8, 4)),
        (sizes(400, 80, 40, "Å"), (40, 8, 4)),
        (sizes(72, 36, 72 / 2.54, "pt"), (2.54e7, 1.27e7, 1e7)),
        (sizes(12, 6, 12 / 2.54, "li"), (2.54e7, 1.27e7, 1e7)),
        (sizes(1, 1, 1, "in"), (2.54e7, 2.54e7, 2.54e7)),
        (
            'PhysicalSizeX="8" PhysicalSizeXUnit="nm" PhysicalSizeY="0.008" '
            'PhysicalSizeZ="4e-5" PhysicalSizeZUnit="mm"',
            (40, 8, 8),
        ),
        (sizes(1, 1, 1, "pixel"), None),
        (sizes(1, 1, 1, "reference frame"), None),
        (sizes(0, 1, 1), None),
        (sizes(-1, 1, 1), None),
        (sizes("NaN", 1, 1), None),
        (sizes("INF", 1, 1), None),
    ],
)
def test_units_of_ome_count_per_axis(tmp_path, stated, voxel_nm):
    volume = open_volume(write(tmp_path / "a.ome.tif", STACK, ome(image(0, planes(0, 6), z=6, size=stated))))
    assert volume.calibrated is (voxel_nm is not None)
    assert volume.levels[0].voxel_nm == pytest.approx(voxel_nm or (1, 1, 1))


def test_a_section_keeps_the_thickness_that_is_stated(tmp_path):
    described = ome(image(0, planes(), size=sizes(0.05, 0.01, 0.008)))
    volume = open_volume(write(tmp_path / "a.ome.tif", STACK[0], described))
    assert volume.levels[0].voxel_nm == pytest.approx((50, 10, 8))


def test_words_that_a_program_gave_tifffile_count(tmp_path):
    words = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 50, "PhysicalSizeZUnit": "nm", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", STACK, metadata=words)
    assert open_volume(tmp_path / "a.tif").levels[0].voxel_nm == pytest.approx((50, 200, 100))
    for unit, unit_words in (("NONE", {"unit": "um"}), ("MICROMETER", {"unit": "um"})):
        words = {"spacing": 2.0, "axes": "ZYX", **unit_words}
        tifffile.imwrite(tmp_path / "b.tif", STACK, resolution=(2, 4), resolutionunit=unit, metadata=words)
        assert open_volume(tmp_path / "b.tif").levels[0].voxel_nm == pytest.approx((2000, 250, 500))


@pytest.mark.parametrize(
    ("axes", "turned"), [("ZYX", (0, 1, 2)), ("XYZ", (2, 1, 0)), ("YXZ", (1, 2, 0)), ("IYX", (0, 1, 2))]
)
def test_the_order_of_axes_is_that_which_is_stated(tmp_path, axes, turned):
    stored = np.ascontiguousarray(STACK.transpose(turned))
    tifffile.imwrite(tmp_path / "a.tif", stored, metadata={"axes": axes}, photometric="minisblack")
    np.testing.assert_array_equal(opened(tmp_path / "a.tif")[1], STACK)


@pytest.mark.parametrize("axes", ["RYX", "AYX", "PYX"])
def test_axes_that_are_neither_z_nor_time_nor_channels_are_asked_for(tmp_path, axes):
    tifffile.imwrite(tmp_path / "a.tif", STACK, metadata={"axes": axes}, photometric="minisblack")
    with pytest.raises(InputError, match=r"got axes \['.', 'y', 'x'\]; .*--axes"):
        open_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(opened(tmp_path / "a.tif", axes="zyx")[1], STACK)


def test_time_points_are_no_sections(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, metadata={"axes": "TYX"}, photometric="minisblack")
    with pytest.raises(ChoiceError, match="got 6 times and none picked"):
        open_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("count", [3, 9])
def test_imagej_that_speaks_of_another_number_of_images_is_refused(tmp_path, count):
    write(tmp_path / "a.tif", STACK, f"ImageJ=1.53\nimages={count}\nslices={count}\n")
    with pytest.raises(InputError, match="contradicts itself"):
        open_volume(tmp_path / "a.tif")


# what tifffile logs, and codecs -------------------------------------------------------------------------------------


def test_what_tifffile_warns_of_is_a_reason_or_a_note_and_is_not_printed(tmp_path, monkeypatch, caplog):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    real = tifffile.TiffFile.series.func

    def warned(message):
        def series(self):
            logging.getLogger("tifffile").warning(message)
            return real(self)

        monkeypatch.setattr(tifffile.TiffFile, "series", property(series))

    warned("<tifffile.TiffFile 'a.tif'> MMStack is missing 3 pages. Missing data are zeroed")
    with pytest.raises(InputError, match=r"a.tif' is damaged or contradicts itself \(MMStack is missing 3 pages"):
        open_volume(tmp_path / "a.tif")
    warned("<TiffTag.fromfile> raised TiffFileError('<tifffile.TiffTag 258 @16> invalid value offset 99999')")
    with pytest.raises(InputError, match="TiffTag 258"):
        open_volume(tmp_path / "a.tif")
    warned("<TiffTag.fromfile> raised TiffFileError('<tifffile.TiffTag 700 @16> invalid value offset 99999')")
    volume = open_volume(tmp_path / "a.tif")
    assert "TiffTag 700" in volume.metadata["notes"][0]
    assert not caplog.records


@pytest.mark.skipif("imagecodecs" in sys.modules, reason="the codecs are here")
def test_a_codec_that_is_not_installed_is_named_with_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_series.importlib.util, "find_spec", lambda name: None)
    tifffile.imwrite(tmp_path / "a.tif", STACK, metadata=None, rowsperstrip=40)
    data = (tmp_path / "a.tif").read_bytes()
    for code, name in ((5, "LZW"), (7, "JPEG"), (34712, "JPEG2000")):
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            places = [page.tags["Compression"].valueoffset for page in file.pages]
        changed = bytearray(data)
        for place in places:
            changed[place : place + 2] = code.to_bytes(2, "little")
        (tmp_path / "b.tif").write_bytes(changed)
        with pytest.raises(
            InputError, match=rf"b.tif' is compressed by {name}.*imagecodecs.*napari-connecto.codecs.'$"
        ):
            open_volume(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", STACK // 32, bitspersample=16, metadata=None)
    with tifffile.TiffFile(tmp_path / "c.tif") as file:
        page = file.pages.first
        page.bitspersample = 12
        with pytest.raises(InputError, match="12 bits per sample, which the package imagecodecs decodes"):
            tiff_series.check_codec(page, "c.tif")


@pytest.mark.slow
def test_commands_say_it_in_one_line(tmp_path):
    append(tmp_path / "s.tif", [STACK, STACK])
    for words, rc in ((["info"], 0), (["convert", str(tmp_path / "o.zarr")], 2)):
        command = [sys.executable, "-m", "napari_connecto", words[0], str(tmp_path / "s.tif"), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == rc
        assert "--array" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
