"""A library is a folder that users copy things into: what is damaged there hides no other model."""

from __future__ import annotations

import json

import pytest

from napari_connecto.workflows.shared.library import boundary_folders, library_models

DAMAGED = [b"[" * 100_000, b"{", b"\xff\xfe", b"[]", b'{"task": ["boundary"]}']


@pytest.mark.parametrize("card", DAMAGED)
def test_a_damaged_card_hides_no_other_model(tmp_path, card):
    for name, content in (("a", card), ("b", json.dumps({"task": "boundary"}).encode())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_bytes(content)
    assert boundary_folders(tmp_path) == [tmp_path / "b"]
    assert library_models(tmp_path) == {"b": tmp_path / "b"}
    assert library_models(tmp_path / "nowhere") == {}
