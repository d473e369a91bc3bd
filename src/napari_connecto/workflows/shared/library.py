"""The boundary models in a library's folder, found without loading torch."""

from __future__ import annotations

import json
from pathlib import Path

DOMAIN, CARD, ENCODER = "domain.json", "card.json", "encoder"


def boundary_folders(library: Path) -> list[Path]:
    """Folders of the domains in a library, and of other boundary models such as imported ones, sorted by name.

    The feature encoder, models of other tasks and anything unreadable that is no domain are left out.
    """
    folders = sorted({path.parent for name in (DOMAIN, CARD) for path in library.glob(f"*/{name}")})
    return [folder for folder in folders if (folder / DOMAIN).is_file() or _is_boundary(folder)]


def _is_boundary(folder: Path) -> bool:
    if folder.name == ENCODER:
        return False
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and card.get("task") == "boundary"
