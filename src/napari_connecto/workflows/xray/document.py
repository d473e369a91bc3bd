"""A translator's document, read without its networks, so that listing translators loads no torch."""

from __future__ import annotations

from pathlib import Path

from napari_connecto.core.errors import ModelError
from napari_connecto.io.disk import read_json
from napari_connecto.sample_data import TRANSLATOR


def describe_translator(folder: Path) -> str:
    """A translator in one line, without loading its weights."""
    told = read_json(folder / TRANSLATOR)
    try:
        about, metrics = told["about"], told["about"]["metrics"]
        source = "simulated X-ray" if about.get("simulated") else "X-ray"
        psnr, before = metrics["translated"]["psnr"], metrics["interpolated"]["psnr"]
        return (
            f"{told['members']} members, trained on {source} of '{about['em']}'; held out: PSNR {psnr:.1f} dB, "
            f"interpolated {before:.1f} ({folder})"
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"the translator in '{folder}' is damaged ({error!r}); copy it again") from error
