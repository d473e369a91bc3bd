"""Files of cells: what cellfinder writes is read, what we write is what it writes, and bombs do not go off."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.io.tables.cell_xml import read_cells, write_cells

THEIRS = """<?xml version="1.0" encoding="UTF-8"?>
<CellCounter_Marker_File>
  <Image_Properties>
    <Image_Filename>placeholder.tif</Image_Filename>
  </Image_Properties>
  <Marker_Data>
    <Current_Type>1</Current_Type>
    <Marker_Type>
      <Type>1</Type>
      <Marker>
        <MarkerX>5</MarkerX>
        <MarkerY>308</MarkerY>
        <MarkerZ>10</MarkerZ>
      </Marker>
    </Marker_Type>
    <Marker_Type>
      <Type>2</Type>
      <Marker>
        <MarkerX>216</MarkerX>
        <MarkerY>492</MarkerY>
        <MarkerZ>14</MarkerZ>
      </Marker>
    </Marker_Type>
  </Marker_Data>
</CellCounter_Marker_File>
"""
BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>
<CellCounter_Marker_File>&c;</CellCounter_Marker_File>"""
OUTSIDE = (
    """<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><CellCounter_Marker_File>&x;</CellCounter_Marker_File>"""
)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_theirs_is_read(tmp_path):
    voxels, kinds = read_cells(write(tmp_path / "c.xml", THEIRS))
    assert voxels.tolist() == [[10, 308, 5], [14, 492, 216]]
    assert kinds.tolist() == [1, 2]


def test_ours_is_read_back_and_has_their_elements_in_their_order(tmp_path):
    voxels, kinds = np.array([[1, 2, 3], [4, 5, 6], [7, 8, -9]]), np.array([2, 1, 2])
    write_cells(tmp_path / "a & b.xml", voxels, kinds)
    back, back_kinds = read_cells(tmp_path / "a & b.xml")
    assert back.tolist() == [[4, 5, 6], [1, 2, 3], [7, 8, -9]]  # by type
    assert back_kinds.tolist() == [1, 2, 2]
    text = (tmp_path / "a & b.xml").read_text()
    assert "<Image_Filename>a &amp; b</Image_Filename>" in text
    assert text.index("<Type>1") < text.index("<Type>2")
    assert [p.name for p in tmp_path.iterdir()] == ["a & b.xml"]


def test_no_cells(tmp_path):
    write_cells(tmp_path / "c.xml", np.empty((0, 3)))
    voxels, kinds = read_cells(tmp_path / "c.xml")
    assert (voxels.shape, kinds.shape) == ((0, 3), (0,))


@pytest.mark.parametrize("text", [BOMB, OUTSIDE])
def test_what_makes_xml_dangerous_is_refused_before_it_is_read(tmp_path, text):
    with pytest.raises(InputError, match="declares a document type"):
        read_cells(write(tmp_path / "c.xml", text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot read .* as XML"),
        (THEIRS[:300], "cannot read .* as XML"),
        ("<html></html>", "starts with <html>; a file of cells starts with"),
        (THEIRS.replace("308", "left"), "<MarkerY> left; it is a number"),
        (THEIRS.replace("308", "nan"), "<MarkerY> nan; it is a number"),
        (THEIRS.replace("308", "9" * 10**6), "<MarkerY> 9{33}; it is a number"),
        (THEIRS.replace("<MarkerZ>10</MarkerZ>", ""), "marker 1 of .* has no MarkerZ"),
        (THEIRS.replace("UTF-8", "klingon"), "cannot read .* as XML"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        read_cells(write(tmp_path / "c.xml", text))


def test_deep_nesting_is_no_recursion(tmp_path):
    deep = "<CellCounter_Marker_File>" + "<a>" * 100_000 + "</a>" * 100_000 + "</CellCounter_Marker_File>"
    assert len(read_cells(write(tmp_path / "c.xml", deep))[0]) == 0


def test_absent(tmp_path):
    with pytest.raises(InputError, match="no table at"):
        read_cells(tmp_path / "c.xml")


@pytest.mark.real
def test_cellfinders_own_output(real_data, tmp_path):
    voxels, kinds = read_cells(real_data / "cellfinder_brain" / "crop" / "cellfinder_output.xml")
    assert (len(voxels), set(kinds.tolist())) == (56, {2})
    assert voxels[0].tolist() == [10, 308, 132]
    write_cells(tmp_path / "c.xml", voxels, kinds)
    assert read_cells(tmp_path / "c.xml")[0].tolist() == voxels.tolist()
