"""Law: sizes and durations read the same wherever they are shown."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import napari_connecto
from napari_connecto.core.amounts import bytes_text, change, counted, percent, seconds_text


def test_durations_in_words():
    told = {0.31: "0.3 s", 9.96: "10 s", 59.4: "59 s", 59.7: "1 min 00 s", 125: "2 min 05 s", 599: "9 min 59 s"}
    told |= {599.6: "10 min", 956: "16 min", 3580: "1 h 00 min", 3700: "1 h 02 min"}
    assert {s: seconds_text(s) for s in told} == told


def test_sizes_in_words():
    told = {0: "0 B", 999: "999 B", 16_384: "16.4 kB", 4.1e6: "4.1 MB", 64e9: "64 GB", 5e15: "5e+03 TB"}
    assert {n: bytes_text(n) for n in told} == told


def test_numbers_of_things_in_words():
    assert [counted(n, "tile") for n in (0, 1, 2)] == ["0 tiles", "1 tile", "2 tiles"]


def test_shares_and_changes_in_words():
    assert (percent(0.05), percent(0.1234, 1), change(0.05), change(-0.004, 1)) == ("5 %", "12.3 %", "+5 %", "-0.4 %")


def per_cents(source: str) -> list[int]:
    """Lines of f-strings that format a value with "%", which leaves no space before the sign."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FormattedValue)]
    specs = [
        (node.lineno, node.format_spec.values[-1]) for node in found if isinstance(node.format_spec, ast.JoinedStr)
    ]
    return [n for n, spec in specs if isinstance(spec, ast.Constant) and re.search(r"(^|\d)%$", str(spec.value))]


def test_every_share_that_a_user_reads_has_a_space_before_its_sign():
    """Sources write shares by `percent` and `change`; Python's own format has no space."""
    assert per_cents('f"{share:.1%} of {n}"') == per_cents('f"{share:+.0%}"') == per_cents('f"{share:%}"') == [1]
    assert per_cents('f"{now:%H:%M} {n:,.0f} {100 * share:.0f} %"') == []
    texts = {str(f): f.read_text(encoding="utf-8") for f in Path(napari_connecto.__file__).parent.rglob("*.py")}
    assert len(texts) > 500
    assert {name: lines for name, text in texts.items() if (lines := per_cents(text))} == {}
    assert [name for name, text in texts.items() if 'replace("%"' in text] == []  # else some get two spaces
