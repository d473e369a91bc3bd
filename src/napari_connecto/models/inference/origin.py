"""Where a predictor was loaded from, so that what lies beside it can be found and loaded in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Backend: TypeAlias = Literal["auto", "torch", "openvino"]


@dataclass(frozen=True)
class Origin:
    """Folder, device and backend that `load_model` was called with."""

    folder: Path
    device: str
    backend: Backend
