"""Small cards of every kind of network."""

from __future__ import annotations

from typing import Any

from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import ModelCard, Output


def card(
    network: dict[str, Any],
    tile: Vec3,
    halo: Vec3,
    *,
    stride: Vec3 = (1, 1, 1),
    names: tuple[str, ...] = ("object",),
    channels: int = 1,
) -> ModelCard:
    """A card whose outputs fit the network."""
    flat = network["kind"] == "smp" or network.get("dims") == 2
    outputs = tuple(Output(name, stride, (halo[0] if flat else 0, 0, 0)) for name in names)
    return ModelCard("small", "detect", (40.0, 4.0, 4.0), tile, halo, outputs, channels=channels, network=network)


SCORER_3D = card(
    {"kind": "scorer", "dims": 3, "width": 4, "stride": [2, 4, 4]}, (8, 16, 16), (4, 8, 8), stride=(2, 4, 4)
)
SCORER_25D = card(
    {"kind": "scorer", "dims": 2, "width": 4, "stride": [1, 8, 8]},
    (3, 32, 32),
    (1, 8, 8),
    stride=(1, 8, 8),
    names=("object", "edge"),
    channels=2,
)
UNET_3D = card(
    {"kind": "unet", "dims": 3, "width": 4, "depth": 3, "strides": [[1, 2, 2], [2, 2, 2]]}, (8, 16, 16), (4, 8, 8)
)
UNET_2D = card({"kind": "unet", "dims": 2, "width": 4, "depth": 2}, (1, 32, 32), (0, 8, 8), names=("object", "centre"))
SMP_25D = card({"kind": "smp", "encoder": "mobilenet_v2", "depth": 2, "width": 4}, (2, 32, 32), (2, 8, 8))

ALL = {"scorer 3-D": SCORER_3D, "scorer 2.5-D": SCORER_25D, "unet 3-D": UNET_3D, "unet 2-D": UNET_2D, "smp": SMP_25D}
