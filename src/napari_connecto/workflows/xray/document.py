"""A translator's document, read without the networks beside it: what only lists translators loads no torch."""

from __future__ import annotations

from pathlib import Path

from napari_connecto.core.errors import ModelError
from napari_connecto.io.disk import read_json
from napari_connecto.sample_data import TRANSLATOR


def describe_translator(folder: Path) -> str:
    """One line on a translator, without loading its weights."""
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
