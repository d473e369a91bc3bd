"""Law: sizes and durations read the same wherever they are shown."""

from __future__ import annotations

from napari_connecto.core.amounts import bytes_text, counted, seconds_text


def test_durations_in_words():
    told = {0.31: "0.3 s", 9.96: "10 s", 59.4: "59 s", 59.7: "1 min 00 s", 125: "2 min 05 s", 3700: "1 h 01 min"}
    assert {s: seconds_text(s) for s in told} == told


def test_sizes_in_words():
    told = {0: "0 B", 999: "999 B", 16_384: "16.4 kB", 4.1e6: "4.1 MB", 64e9: "64 GB", 5e15: "5e+03 TB"}
    assert {n: bytes_text(n) for n in told} == told


def test_numbers_of_things_in_words():
    assert [counted(n, "tile") for n in (0, 1, 2)] == ["0 tiles", "1 tile", "2 tiles"]
