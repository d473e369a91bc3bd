"""``cascade.json``, read without its networks, so that listing cascades loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import ModelError

FORMAT = 1


def read_document(folder: Path) -> dict[str, Any]:
    """``cascade.json`` of a folder, with its format checked; loads no weights."""
    path = folder / "cascade.json"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"'{folder}' is not a cascade; give a folder with cascade.json, made by train-cascade"
        ) from error
    document = parse_json(text, str(path), ModelError, "train or export the cascade again")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ModelError(f"{path} has an unknown format; this version reads format {FORMAT}")
    return document


def describe_cascade(folder: Path) -> str:
    """A cascade in one line, without loading its weights."""
    document = read_document(folder)
    try:
        rule, metadata = document["rule"], document["metadata"]
        source = metadata.get("volume", "unknown data")
        levels = len(document["digests"])
        return f"finds {document['name']} as {rule['head']}, {levels} levels, trained on {source} ({folder})"
    except (LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"the cascade in '{folder}' is damaged ({error!r}); copy it again") from error
