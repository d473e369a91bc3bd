"""The description of a bioimage.io model package (format 0.4 and 0.5), read offline by ``bioimageio.spec``."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.io.packages.bioimage_axes import (
    LETTERS,
    PackageAxis,
    channel_count,
    letters_of,
    output_names,
    space_of,
)
from napari_connecto.io.packages.package_files import MAX_YAML, PackageFiles, check_name, opened
from napari_connecto.io.packages.plain_data import safe_array, safe_yaml

DOCUMENTS = ("bioimageio.yaml", "rdf.yaml", "model.yaml")
FORMATS = ("0.4", "0.5")
SUFFIX = ".bioimageio.yaml"
WEIGHTS = ("torchscript", "pytorch_state_dict", "onnx")


@dataclass(frozen=True)
class Package:
    """A model package, checked and in memory.

    Parameters
    ----------
    axes, answer_axes
        Order of the axes that the network takes and gives, of the letters b c z y x.
    space
        By letter z, y, x as far as the network has them.
    before, after
        Steps of pre- and postprocessing, {"id": ..., its arguments}, in order; axes by letters.
    test_input, test_output
        What the network must give for what, before and after those steps.
    format, weights
        One of `WEIGHTS`, and the bytes of the file.
    architecture, kwargs
        The callable that builds the network for a state dict.
    """

    name: str
    licence: str
    axes: str
    answer_axes: str
    space: Mapping[str, PackageAxis]
    channels: int
    outputs: tuple[str, ...]
    before: tuple[Mapping[str, Any], ...]
    after: tuple[Mapping[str, Any], ...]
    test_input: np.ndarray
    test_output: np.ndarray
    format: str
    weights: bytes
    architecture: str = ""
    kwargs: Mapping[str, Any] | None = None


def read_package(path: str | Path) -> Package:
    """Read a package without unpacking it, without the network and without running anything in it.

    Parameters
    ----------
    path
        A zip or folder with ``rdf.yaml``, ``bioimageio.yaml`` or ``NAME.bioimageio.yaml``, or that file in its folder.

    Raises
    ------
    InputError
        If the extra ``bioimageio`` is not installed.
    ModelError
        If the package is unsafe, damaged, not valid by ``bioimageio.spec``, or of a kind that is not supported; each
        in one line.
    """
    with opened(path) as files:
        document = files.chosen or _document(files)
        raw = safe_yaml(files.read(document, MAX_YAML), f"'{document}' in '{files.path}'")
        return _parsed(described(raw, path), raw, files)


def _document(files: PackageFiles) -> str:
    """The name of a package's description."""
    named = [name for name in files.names if name.endswith(SUFFIX) and "/" not in name]
    found = [*(name for name in DOCUMENTS if name in files.names), *named]
    if not found:
        raise ModelError(
            f"'{files.path}' has no {', '.join(DOCUMENTS[:2])} or NAME{SUFFIX}; give a bioimage.io model package"
        )
    if len(named) > 1 and found == named:
        raise ModelError(f"'{files.path}' has {len(named)} descriptions: {', '.join(named)[:200]}; give one of them")
    return found[0]


def spec_library() -> Any:
    """``bioimageio.spec``; raises `InputError` where the extra is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import bioimageio.spec
    except ImportError as error:
        raise InputError(
            "bioimage.io packages need the extra 'bioimageio': pip install 'napari-connecto[bioimageio]'"
        ) from error
    return bioimageio.spec


def described(raw: Any, path: str | Path) -> Any:
    """A description, from plain values, as ``bioimageio.spec`` has it in its latest format; ``path`` for messages.

    Raises
    ------
    InputError
        If the extra ``bioimageio`` is not installed.
    ModelError
        If it is not valid, or its weights are of no supported kind.
    """
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise ModelError(f"the description in '{path}' is not a mapping of names to values; download the package again")
    if raw.get("type") != "model":
        raise ModelError(f"'{path}' describes a {raw.get('type')!s:.50}, not a model; give a model package")
    version = str(raw.get("format_version"))
    if ".".join(version.split(".")[:2]) not in FORMATS:
        raise ModelError(f"'{path}' has format {version:.20}; allowed: {', '.join(FORMATS)}: update it")
    _check_weights(raw.get("weights"), path)
    spec = spec_library()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = spec.ValidationContext(perform_io_checks=False, log_warnings=False)
        try:
            description = spec.build_description(raw, context=context, format_version="latest")
        except (AssertionError, ValueError, TypeError, KeyError, NotImplementedError, RecursionError) as error:
            first = str(error).split("\n")[0] or type(error).__name__
            raise ModelError(f"the description in '{path}' is not valid: {first:.200}") from error
    if isinstance(description, spec.InvalidDescr):
        raise ModelError(f"the description in '{path}' is not valid: {_first_error(description)}")
    return description


def _check_weights(weights: Any, path: str | Path) -> None:
    """Say what stands in the way of an import before anything else is looked at.

    Raises
    ------
    ModelError
        If no weights are there as TorchScript, as ONNX, or as a state dict of a network that a library has.
    """
    if not isinstance(weights, Mapping):
        return  # the library says it better
    there = [str(name) for name, entry in weights.items() if entry is not None]
    if "torchscript" in there or "onnx" in there:
        return
    if "pytorch_state_dict" not in there:
        raise ModelError(
            f"'{path}' has weights as {', '.join(there) or 'nothing'}; supported are {', '.join(WEIGHTS)}: ask its "
            "authors for one of them"
        )
    entry = weights["pytorch_state_dict"]
    built = entry.get("architecture") if isinstance(entry, Mapping) else None
    source = built.get("source") if isinstance(built, Mapping) else built if _is_file(built) else None
    if source is not None:
        raise ModelError(
            f"'{path}' ships its network as source code, which is never run ({source!s:.80}); ask its authors for a "
            "package with torchscript or onnx weights"
        )


def _is_file(architecture: Any) -> bool:
    """Whether a network of format 0.4 is ``FILE.py:NAME``, not ``library.module.NAME``."""
    return isinstance(architecture, str) and (".py:" in architecture or "/" in architecture)


def _first_error(description: Any) -> str:
    for detail in description.validation_summary.details:
        for error in detail.errors:
            place = ".".join(str(part) for part in error.loc if str(part).replace("_", "").isalnum())
            return f"{place}: {' '.join(str(error.msg).split()):.200}"
    return "unknown reason"


def _parsed(model: Any, raw: Mapping[str, Any], files: PackageFiles) -> Package:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"'{files.path}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "supported are models of one image in, one out"
        )
    taken, given = model.inputs[0], model.outputs[0]
    axes, answer = letters_of(taken.axes), letters_of(given.axes)
    missing = set(axes) ^ set(answer) if "z" in axes + answer else set()
    if "z" in missing:
        raise ModelError(f"got axes {axes} in and {answer} out; z must be in both or in neither")
    form, entry = weights_of(model.weights, files.path)
    weights = files.read(_name(entry.source))
    stated = _stated(raw, form) or getattr(entry, "sha256", None)
    if stated and hashlib.sha256(weights).hexdigest() != str(stated):
        raise ModelError(f"'{entry.source}' in '{files.path}' is not the file of the description (other sha256)")
    library = form == "pytorch_state_dict"
    return Package(
        name=str(model.name),
        licence=str(model.license or ""),
        axes=axes,
        answer_axes=answer,
        space=space_of(taken, given),
        channels=channel_count(taken.axes, axes),
        outputs=output_names(given),
        before=_before(taken, files.path),
        after=tuple(_step(step, "", files.path) for step in given.postprocessing),
        test_input=_test(taken, files),
        test_output=_test(given, files),
        format=form,
        weights=weights,
        architecture=f"{entry.architecture.import_from}.{entry.architecture.callable}" if library else "",
        kwargs=dict(entry.architecture.kwargs) if library else None,
    )


def weights_of(weights: Any, path: str | Path) -> tuple[str, Any]:
    """The form of the weights to use, one of `WEIGHTS`, and its entry.

    Raises
    ------
    ModelError
        If there is none.
    """
    there = [name for name in type(weights).model_fields if getattr(weights, name, None) is not None]
    if "torchscript" in there:
        return "torchscript", weights.torchscript
    entry = getattr(weights, "pytorch_state_dict", None)
    if entry is not None and hasattr(entry.architecture, "import_from"):
        return "pytorch_state_dict", entry
    if "onnx" in there:
        return "onnx", weights.onnx
    raise ModelError(f"'{path}' has weights as {', '.join(there)}; supported are {', '.join(WEIGHTS)}")


def _stated(raw: Mapping[str, Any], form: str) -> Any:
    """The checksum of the weights, which converting from 0.4 to 0.5 loses."""
    entry = raw.get("weights", {}).get(form, {})
    return entry.get("sha256") if isinstance(entry, dict) else None


def _name(source: Any) -> str:
    name = str(source)
    check_name(name, "the description")
    return name


def _test(tensor: Any, files: PackageFiles) -> np.ndarray:
    if tensor.test_tensor is None:
        raise ModelError(f"'{files.path}' has no test tensor for '{tensor.id}'; the import cannot be checked")
    name = _name(tensor.test_tensor.source)
    return safe_array(files.read(name), f"'{name}' in '{files.path}'")


def _before(taken: Any, path: Path) -> tuple[dict[str, Any], ...]:
    """Steps of preprocessing, less the first if it casts the image to the type it is said to have."""
    data = taken.data if isinstance(taken.data, list | tuple) else [taken.data]
    steps = [_step(step, str(taken.id), path) for step in taken.preprocessing]
    own = bool(steps) and steps[0] == {"id": "ensure_dtype", "dtype": str(data[0].type)}
    return tuple(steps[own and len(steps) > 1 :])


def _step(step: Any, own: str, path: Path) -> dict[str, Any]:
    kwargs = step.kwargs.model_dump(mode="json")
    reference = kwargs.pop("reference_tensor", None)
    if reference is not None and str(reference) != own:
        raise ModelError(f"'{path}' has the step '{step.id}' that looks at another tensor; this is not supported")
    for key in ("axes", "axis"):
        if kwargs.get(key) is not None:
            names = [kwargs[key]] if key == "axis" else kwargs[key]
            kwargs[key] = "".join(LETTERS.get(str(name), str(name)) for name in names)
    return {"id": str(step.id), **kwargs}
