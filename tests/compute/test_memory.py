"""What a process takes is watched, and no more forward passes run at once than memory affords."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from napari_connecto.compute.memory import PeakMemory, affordable, pass_bytes, process_bytes
from napari_connecto.core.model import ModelCard, Output

CARD = ModelCard(
    "deep", "translate", (10.0, 10.0, 10.0), (96, 96, 96), (20, 20, 20), (Output("mean"),),
    network={"kind": "unet", "dims": 3, "width": 16},
)  # fmt: skip


def test_the_peak_is_seen_although_it_is_gone_afterwards():
    before = process_bytes()
    with PeakMemory() as watch:
        block = np.ones(2**26)
        assert block.sum() == 2**26
        del block
    assert watch.peak_bytes - before == pytest.approx(2**29, rel=0.1)
    assert process_bytes() - before < 2**28


def test_passes_at_once_fit_into_memory(monkeypatch):
    one = pass_bytes(CARD, 2)
    assert one == 2 * 136**3 * 4 * 160
    for free, calls in ((100 * one, 16), (12 * one, 6), (one, 1), (0, 1)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free))
        assert affordable(CARD, 2, 16) == calls
