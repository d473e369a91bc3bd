from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.errors import StoreError
from napari_connecto.io.stores.journal import Journal

PAIR = np.dtype([("tile", "<i8"), ("score", "<f4")])


def test_records_come_back_in_order_also_in_another_journal(tmp_path):
    journal = Journal(tmp_path / "j", np.int64)
    assert journal.records().tolist() == []
    journal.append(3)
    journal.append([1, 2**62])
    assert journal.records().tolist() == [3, 1, 2**62]
    again = Journal(tmp_path / "j", np.int64)
    again.append(-5)
    assert journal.records().tolist() == [3, 1, 2**62, -5]


def test_structured_records(tmp_path):
    journal = Journal(tmp_path / "j", PAIR)
    journal.append(np.array([(1, 0.5), (2, 0.25)], PAIR))
    records = Journal(tmp_path / "j", PAIR).records()
    assert records["tile"].tolist() == [1, 2]
    assert records["score"].tolist() == [0.5, 0.25]


@given(cut=st.integers(0, 200))
def test_cut_anywhere_the_whole_records_before_stay_and_more_can_follow(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("journal") / "j"
    Journal(path, np.int64).append(np.arange(10))
    size = path.stat().st_size
    header, record = size - 10 * 12, 12
    keep = min(cut, size)
    os.truncate(path, keep)
    whole = max(0, keep - header) // record
    assert Journal(path, np.int64).records().tolist() == list(range(whole))
    Journal(path, np.int64).append([77, 78])
    assert Journal(path, np.int64).records().tolist() == [*range(whole), 77, 78]


def test_damaged_record_and_what_follows_it_are_dropped(tmp_path):
    path = tmp_path / "j"
    Journal(path, np.int64).append(np.arange(10))
    content = bytearray(path.read_bytes())
    content[len(content) - 4 * 12] ^= 1
    path.write_bytes(content)
    assert Journal(path, np.int64).records().tolist() == [0, 1, 2, 3, 4, 5]
    Journal(path, np.int64).append(6)
    assert Journal(path, np.int64).records().tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_reading_never_changes_the_file(tmp_path):
    path = tmp_path / "j"
    Journal(path, np.int64).append([1, 2])
    with path.open("ab") as file:
        file.write(b"half")
    before = path.read_bytes()
    assert Journal(path, np.int64).records().tolist() == [1, 2]
    assert path.read_bytes() == before


def test_other_records_are_refused(tmp_path):
    Journal(tmp_path / "j", np.int64).append(1)
    with pytest.raises(StoreError, match="holds other records"):
        Journal(tmp_path / "j", np.float32).append(1)
    with pytest.raises(StoreError, match="holds other records"):
        Journal(tmp_path / "j", np.float32).records()


def test_a_damaged_first_line_is_refused_before_anything_is_lost(tmp_path):
    path = tmp_path / "j"
    Journal(path, np.int64).append([1, 2])
    damaged = path.read_bytes().replace(b"\n", b"\x94", 1)
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match="holds other records"):
        Journal(path, np.int64).append(3)
    assert path.read_bytes() == damaged


def test_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"cannot write .*choose another place") as caught:
        Journal(tmp_path / "file" / "j", np.int64).append(1)
    assert "\n" not in str(caught.value)
