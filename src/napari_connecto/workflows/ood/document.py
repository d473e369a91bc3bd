"""Where results keep what the out-of-distribution check found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEY, CHECK = "ood", "ood_check.json"
"""Its key in reports and in the metadata of images, and its file in a result folder."""
OLD_KEY, OLD_CHECK = "gate", "gate_check.json"
"""Names used by earlier versions; still read."""


def stated(document: Mapping[str, Any]) -> dict[str, Any]:
    """The check recorded in a report or in image metadata, see `OodCheck.to_json`; {} where there is none."""
    found: dict[str, Any] = document.get(KEY) or document.get(OLD_KEY) or {}
    return found
