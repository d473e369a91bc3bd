"""napari's File > Open Sample: the shipped volumes, and their truths hidden beside them."""

from __future__ import annotations

from typing import Any

from napari_connecto.sample_data import PAIRS, SAMPLES, open_sample
from napari_connecto.widgets._show import layer_data

LayerData = tuple[Any, dict[str, Any], str]


def cells() -> list[LayerData]:
    """Synthetic light-sheet fluorescence with sparse cells."""
    return _sample("cells", colormap="green")


def neuropil() -> list[LayerData]:
    """Synthetic electron microscopy of neuropil with mitochondria."""
    return _sample("neuropil")


def xray() -> list[LayerData]:
    """Simulated X-ray of synthetic neuropil, and the EM it is made of."""
    em, neurons = (layer_data(open_sample("xray", part), visible=False) for part in PAIRS["xray"])
    return [layer_data(open_sample("xray")), em, neurons]


def _sample(name: str, **look: Any) -> list[LayerData]:
    truths = [layer_data(open_sample(name, t), name=f"{t} (truth)", visible=False) for t in SAMPLES[name]]
    return [layer_data(open_sample(name), name=f"{name} (synthetic)", **look), *truths]
