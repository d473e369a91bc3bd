"""The loaders of torch_em, which know where published data are and how to unpack them; its only home."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.models.datasets.table import DATASETS, EmDataset

PACKAGE = "torch_em.data.datasets.electron_microscopy"


@dataclass(frozen=True)
class Source:
    """A file that a loader downloads: name in the data's folder, address, and SHA-256 ("" for none)."""

    name: str
    address: str
    sha256: str


def em_dataset(name: str) -> EmDataset:
    """The data set of this name; raises `InputError` for others."""
    if name not in DATASETS:
        raise InputError(f"got the data set '{name:.60}'; there are: {', '.join(DATASETS)}")
    return DATASETS[name]


def sources(dataset: EmDataset) -> tuple[Source, ...]:
    """What the loader would download as files, as its own tables say.

    Raises
    ------
    InputError
        If the extra ``torch-em`` is not installed.
    ModelError
        If the loader has changed.
    """
    module = _module(dataset)
    return tuple(
        Source(part.name, str(_entry(module, part.url)), str(_entry(module, part.checksum) or ""))
        for part in dataset.parts
    )


def load(dataset: EmDataset, folder: Path) -> tuple[Path, Path]:
    """Download and unpack a data set; what is in the folder already is kept.

    Returns
    -------
    tuple of Path
        The file of the image and that of the labels, which may be one.

    Raises
    ------
    InputError
        If the extra ``torch-em``, or a package that this loader needs, is not installed, or the download fails.
    ModelError
        If the loader has changed.
    """
    module = _module(dataset)
    try:
        function = getattr(module, dataset.function)
    except AttributeError as error:
        raise _changed(dataset, error) from error
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = function(str(folder), download=True, **dataset.arguments)
    except ImportError as error:
        raise InputError(f"the data set '{dataset.name}' needs {dataset.needs or error}: pip install it") from error
    except TypeError as error:
        raise _changed(dataset, error) from error
    except Exception as error:  # of whatever library a loader downloads with
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"cannot get '{dataset.name}' ({reason:.200}); check the connection and run the command again"
        ) from error
    return _paths(found, dataset)


def _paths(found: Any, dataset: EmDataset) -> tuple[Path, Path]:
    """Loaders give a path, a list of them, or two of either: images and labels."""
    pair = found if isinstance(found, tuple) and len(found) == 2 else (found, found)
    first = [one[0] if isinstance(one, Sequence) and not isinstance(one, str) and one else one for one in pair]
    if not all(isinstance(one, str | Path) for one in first):
        raise _changed(dataset, TypeError(f"it gives {type(found).__name__}"))
    image, labels = first
    return Path(image), Path(labels)


def _module(dataset: EmDataset) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(f"{PACKAGE}.{dataset.module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(PACKAGE):
            raise _changed(dataset, error) from error
        raise InputError(
            f"the loaders of published data need the extra 'torch-em' (missing: {error.name}): "
            "pip install 'napari-connecto[torch-em]'"
        ) from error
    except ImportError as error:
        raise InputError(
            f"torch_em cannot be loaded ({' '.join(str(error).split()):.200}); install it again"
        ) from error


def _entry(module: Any, keys: Sequence[str]) -> Any:
    try:
        found = getattr(module, keys[0])
        for key in keys[1:]:
            found = found[key]
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelError(
            f"torch_em's loader '{module.__name__.rpartition('.')[2]}' has changed ({error}); install torch_em 0.10"
        ) from error
    return found


def _changed(dataset: EmDataset, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())
    return ModelError(f"torch_em's loader of '{dataset.name}' has changed ({reason:.200}); install torch_em 0.10")
