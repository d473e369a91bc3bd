"""The boundary models in a library's folder, found without loading torch."""

from __future__ import annotations

import json
from pathlib import Path

from napari_connecto.core.settings import settings
from napari_connecto.sample_data import shipped_folder

DOMAIN, CARD, ENCODER = "domain.json", "card.json", "encoder"


def user_library() -> Path:
    """The user's own library, where `domains add` and `domains build` put models; it need not exist."""
    return settings().results / "library"


def libraries(folder: str | Path | None = None) -> tuple[Path, ...]:
    """Folders of models: ``folder`` alone, else that of the shipped domains and the user's own."""
    if folder is not None:
        return (Path(folder),)
    return shipped_folder() / "domains", user_library()


def library_models(folder: str | Path | None = None) -> dict[str, Path]:
    """Boundary models by name, see `libraries`; a shipped one goes before one of the same name."""
    found: dict[str, Path] = {}
    for library in libraries(folder):
        for path in boundary_folders(library):
            found.setdefault(path.name, path)
    return found


def added_models() -> dict[str, Path]:
    """Those of the user's own library."""
    return {path.name: path for path in boundary_folders(user_library())}


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
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(card, dict) and card.get("task") == "boundary"
