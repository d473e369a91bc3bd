"""Voxels of a TIFF are those of its strips and tiles, whatever their layout and whichever box is asked for."""

from __future__ import annotations

import gc

import fsspec
import numpy as np
import pytest
import tifffile

from napari_connecto.core.errors import ChunkError
from napari_connecto.io.volumes.read import open_volume
from tests.io.travel import travelled
from tests.io.volumes.tiffs import STACK, write

GREY, ZLIB = {"photometric": "minisblack"}, {"compression": "zlib"}
LAYOUTS = {
    "planar tiles": ((5, 3, 40, 52), "u1", {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16)}),
    "colour in tiles": ((5, 40, 52, 3), "u1", {"photometric": "rgb", **ZLIB, "tile": (16, 16)}),
    "colour in strips": ((5, 40, 52, 3), "u1", {"photometric": "rgb", **ZLIB, "rowsperstrip": 7}),
    "colour and alpha": ((40, 52, 4), "u1", {"photometric": "rgb", "extrasamples": ["unassalpha"], **ZLIB}),
    "blocks": ((20, 40, 52), "u2", {**GREY, "volumetric": True, "tile": (8, 16, 16)}),
    "compressed blocks": ((20, 40, 52), "u2", {**GREY, **ZLIB, "volumetric": True, "tile": (8, 16, 16)}),
    "predictor": ((6, 40, 52), "u2", {**GREY, **ZLIB, "predictor": 2}),
    "seven samples": ((7, 40, 52), "u1", {**GREY, **ZLIB, "planarconfig": "separate"}),
    "one row": ((1, 40), "u2", ZLIB),
    "one column": ((5, 40, 1), "f4", {**GREY, **ZLIB}),
    "packbits": ((6, 40, 52), "u1", {**GREY, "compression": "packbits"}),
    "big-endian": ((6, 40, 52), "i4", {**GREY, **ZLIB, "byteorder": ">"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("remote", [False, True], ids=["file", "url"])
def test_every_box_of_every_layout(tmp_path, layout, remote):
    shape, dtype, how = LAYOUTS[layout]
    rng = np.random.default_rng(0)
    if how.get("compression") == "packbits":
        tifffile.imwrite(tmp_path / "a.tif", array := np.zeros(shape, dtype), **GREY)
    else:
        tifffile.imwrite(tmp_path / "a.tif", array := rng.integers(0, 255, shape).astype(dtype), **how)
    path = str(tmp_path / "a.tif")
    if remote:
        path = f"memory://layouts/{layout.replace(' ', '_')}.tif"
        with fsspec.open(path, "wb") as file:
            file.write((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        stored = file.series[0].asarray()
        colour = "S" in file.series[0].axes
    np.testing.assert_array_equal(stored.ravel(), array.ravel())
    source = travelled(open_volume(path, channel="all" if colour else None)).levels[0].array.source
    for _ in range(25):
        ends = [sorted(rng.choice(n + 1, 2, replace=False)) for n in source.shape]
        box = tuple(slice(int(a), int(b)) for a, b in ends)
        np.testing.assert_array_equal(source.read(box), stored[box])


@pytest.mark.parametrize("remote", [False, True], ids=["file", "url"])
def test_a_hyperstack_of_one_page_is_whole(tmp_path, remote):
    """As ImageJ writes those of more than 4 GB: one page, all voxels behind it."""
    path = write(tmp_path / "a.tif", STACK[0], "ImageJ=1.53\nimages=6\nslices=6\n", byteorder=">")
    with path.open("ab") as file, tifffile.TiffFile(path) as first:
        assert first.pages.first.dataoffsets[0] + STACK[0].nbytes == path.stat().st_size
        file.write(STACK[1:].astype(">u2").tobytes())
    where = str(path)
    if remote:
        where = "memory://hyperstack/a.tif"
        with fsspec.open(where, "wb") as file:
            file.write(path.read_bytes())
    level = travelled(open_volume(where)).levels[0]
    np.testing.assert_array_equal(level.read(level.box), STACK)
    np.testing.assert_array_equal(level.array[1:4, 3:9, 5:7], STACK[1:4, 3:9, 5:7])


def test_what_fails_is_said_once_and_nothing_else_is(tmp_path, caplog, capfd):
    tifffile.imwrite(tmp_path / "a.tif", STACK, compression="zlib", tile=(16, 16))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        places = [place for page in file.pages for place in zip(page.dataoffsets, page.databytecounts, strict=True)]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    for offset, count in places[5:]:
        data[offset : offset + count] = b"\xff" * count
    (tmp_path / "a.tif").write_bytes(data)
    level = open_volume(tmp_path / "a.tif").levels[0]
    with pytest.raises(ChunkError, match=r"chunk \(0, 1, 1\) of '.*a.tif' is damaged"):
        level.read(level.box)
    gc.collect()
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def unstored(path, kind):
    """Sections of which the first segment of the fourth is not stored."""
    how = {"tile": (16, 16)} if kind == "Tile" else {"rowsperstrip": 16}
    tifffile.imwrite(path, STACK, compression="zlib", metadata=None, **how)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        place = file.pages[3].tags[f"{kind}Offsets"].valueoffset
        data[place : place + 4] = bytes(4)
    path.write_bytes(data)
    return path


def test_strips_that_are_not_stored_are_no_zeros_and_tiles_only_in_sparse_files(tmp_path):
    level = open_volume(unstored(tmp_path / "s.tif", "Strip")).levels[0]
    with pytest.raises(ChunkError, match=r"chunk \(3, 0, 0\) .* \(it is not stored\)"):
        level.read(level.box)
    level = open_volume(unstored(tmp_path / "t.tif", "Tile")).levels[0]
    sparse = STACK.copy()
    sparse[3, :16, :16] = 0
    np.testing.assert_array_equal(level.read(level.box), sparse)
    level = open_volume(tmp_path / "t.tif", missing="error").levels[0]
    with pytest.raises(ChunkError, match=r"chunk \(3, 0, 0\) .* \(it is not stored\)"):
        level.read(level.box)


def test_a_file_that_ends_early_is_damaged_where_it_ends(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, compression="zlib", metadata=None)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-100])
    level = open_volume(tmp_path / "a.tif").levels[0]
    with pytest.raises(ChunkError, match=r"chunk \(5, 0, 0\) of .* is damaged \(the file ends in it\)"):
        level.read(level.box)
