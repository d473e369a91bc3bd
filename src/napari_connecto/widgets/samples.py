"""napari's File > Open Sample: the shipped volumes, their ground truth as hidden layers, and the dock to try."""

from __future__ import annotations

from typing import Any

from napari_connecto.sample_data import PAIRS, SAMPLES, open_sample
from napari_connecto.widgets.opening import open_beside
from napari_connecto.widgets.viewer.show import layer_data

LayerData = tuple[Any, dict[str, Any], str]
NAMES = {"em": "EM"}
"""Truths whose key is not their name."""


def cells() -> list[LayerData]:
    """Synthetic light-sheet fluorescence with sparse cells."""
    open_beside("cells", "Cascade detection")
    return _sample("cells", colormap="green")


def neuropil() -> list[LayerData]:
    """Synthetic electron microscopy of neuropil with mitochondria."""
    open_beside("neuropil", "Adapt to my data")
    return _sample("neuropil")


def xray() -> list[LayerData]:
    """Simulated X-ray of synthetic neuropil, and the EM it was made from."""
    open_beside("xray", "X-ray to EM")
    return _pair("xray", "X-ray (simulated)")


def xray_test() -> list[LayerData]:
    """The same for other tissue, to try a trained translator on."""
    open_beside("xray-test", "X-ray to EM")
    return _pair("xray-test", "X-ray of other tissue (simulated)")


def _pair(name: str, title: str) -> list[LayerData]:
    truths = [layer_data(open_sample(name, t), name=f"{NAMES.get(t, t)} (truth)", visible=False) for t in PAIRS[name]]
    return [layer_data(open_sample(name), name=title), *truths]


def _sample(name: str, **look: Any) -> list[LayerData]:
    truths = [layer_data(open_sample(name, t), name=f"{t} (truth)", visible=False) for t in SAMPLES[name]]
    return [layer_data(open_sample(name), name=f"{name} (synthetic)", **look), *truths]
