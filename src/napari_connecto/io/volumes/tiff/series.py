"""Choose the image of a TIFF: thumbnails and slide labels are skipped, sections appended one by one are a stack."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tifffile

from napari_connecto.core.errors import ChoiceError, InputError
from napari_connecto.io.limits.damage import header_errors

_ASIDE = {"thumbnail", "label image", "macro", "macro image", "thumbnail image", "overview", "overview image", "map"}
_SLIDES = {"svs", "scn", "qpi", "ndpi", "bif", "philips"}
_BITS = (1, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Chosen:
    """The series that is opened: one, or several of one section each that are a stack; ``others`` are told."""

    series: tuple[tifffile.TiffPageSeries, ...]
    others: tuple[str, ...] = ()


def choose(every: Sequence[tifffile.TiffPageSeries], file: tifffile.TiffFile, array: str | None, path: str) -> Chosen:
    """The series of a number; without one the only image there is.

    Raises
    ------
    ChoiceError
        If there are several.
    InputError
        If there is none of that number.
    """
    if array is not None:
        if not array.isdecimal():
            raise InputError(f"got array='{array}'; of a TIFF it is the number of a series, such as '0' (--array 0)")
        if int(array) >= len(every):
            raise InputError(f"got array='{array}'; '{path}' has {len(every)} series, counted from 0 (--array N)")
        return Chosen((every[int(array)],))
    if not every:
        raise InputError(f"'{path}' holds no image; check that it is complete")
    images = [series for series in every if not _is_aside(series)] or every
    here = [series for series in images if series.keyframe.parent is file]
    if len(here) == 1:  # the others lie in other files of an OME-TIFF, which show them
        images = here
    lines = {id(series): _line(k, series) for k, series in enumerate(every)}
    if len(images) == 1:
        return Chosen((images[0],), tuple(lines[id(series)] for series in every if series is not images[0]))
    if _are_sections(images):
        return Chosen(tuple(images))
    numbers = [str(k) for k, series in enumerate(every) if any(series is image for image in images)]
    listed = ", ".join(f"'{k}'" for k in numbers[:8]) + (", ..." if len(numbers) > 8 else "")
    told = [lines[id(series)] for series in images[:8]] + (["..."] if len(images) > 8 else [])
    raise ChoiceError(
        f"several images in '{path}' ({'; '.join(told[:4])}{'; ...' if len(told) > 4 else ''}); "
        f"choose array= one of {listed} (--array N)",
        ["several images: choose one with --array", *told],
    )


def _is_aside(series: tifffile.TiffPageSeries) -> bool:
    """Whether it is a thumbnail, a mask of another image, or a picture of the slide and its label."""
    name = series.name.strip().lower()
    slide = series.kind in _SLIDES and (name in _ASIDE or name == "label")
    named = series.kind == "ome" and name in _ASIDE
    return slide or named or bool(series.keyframe.subfiletype & 0b101)


def _are_sections(images: Sequence[tifffile.TiffPageSeries]) -> bool:
    """Whether they are sections of one size and type that were appended, and not given names of their own."""
    first = images[0]
    alike = all(
        series.kind == "shaped"
        and len(series) == 1
        and (series.shape, series.axes, series.dtype) == (first.shape, first.axes, first.dtype)
        for series in images
    )
    return alike and first.axes in ("YX", "YXS") and first.keyframe.shape == first.shape and not _named(images)


def _named(images: Sequence[tifffile.TiffPageSeries]) -> bool:
    return len({_name(series) for series in images}) > 1


def _name(series: tifffile.TiffPageSeries) -> str:
    try:
        return str(json.loads(series.keyframe.shaped_description or "").get("name", ""))
    except (ValueError, AttributeError):
        return series.name


def _line(number: int, series: tifffile.TiffPageSeries) -> str:
    name = f" '{series.name:.60}'" if series.name else ""
    levels = f", {len(series.levels)} levels" if len(series.levels) > 1 else ""
    return f"{number}:{name} {' x '.join(map(str, series.shape))} ({series.axes}), {series.dtype}{levels}"


def check_codec(page: tifffile.TiffPage, path: str) -> None:
    """Raise `InputError` where no installed package decodes a page, and name the one that does."""
    here = importlib.util.find_spec("imagecodecs") is not None
    bits, image = page.bitspersample, page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS
    needs = _lacking(tifffile.TIFF.DECOMPRESSORS, page.compression, "compressed by", path)
    if not needs and not image:
        needs = _lacking(tifffile.TIFF.UNPREDICTORS, page.predictor, "coded with the predictor", path)
    if not needs and not image and not here:
        swapped = page.predictor != 1 and page.dtype is not None and page.dtype.kind == "f"
        if page.predictor not in (1, 2) or (swapped and page.parent.byteorder == ">"):
            needs = "coded with the predictor " + getattr(page.predictor, "name", str(page.predictor))
        elif bits not in _BITS:
            needs = f"of {bits} bits per sample"
    if needs:
        install = "pip install 'napari-connecto[codecs]'"
        raise InputError(f"'{path}' is {needs}, which the package imagecodecs decodes; {install}")
    if page.dtype is None:
        raise InputError(f"'{path}' is of {bits} bits per sample, which cannot be read; save it as integers or floats")


def _lacking(codecs: Mapping[int, Callable[..., object]], value: int, what: str, path: str) -> str:
    """What a page needs of the package that is absent, "" for nothing."""
    needs = f"{what} {getattr(value, 'name', value)}"
    try:
        if value != 1:
            codecs[value](b"")
    except KeyError as error:
        if "imagecodecs" in str(error):
            return needs
        raise InputError(f"'{path}' is {needs}, which cannot be read; save it with another compression") from error
    except ImportError:
        return needs
    except header_errors():
        pass  # nothing is no compressed image
    return ""
