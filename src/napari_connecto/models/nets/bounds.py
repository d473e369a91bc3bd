"""Limits for networks described by a file: size, and the libraries' own parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

MOST = 2**27
"""Largest number of weights, 512 MiB in full precision; the shipped networks have 2 million."""
LEAST = 2**14
"""Weights that every tensor counts for at least, so that there are 8192 of them at most."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@contextmanager
def few_weights() -> Iterator[None]:
    """Raise `ValueError` as soon as the networks that are made inside have more than `MOST` weights."""
    total = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal total
        total += 0 if parameter is None else max(LEAST, parameter.numel())
        if total > MOST:
            raise ValueError(f"it has more than {MOST} weights")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def encoder_name(name: Any) -> str:
    """The name of an encoder of segmentation_models_pytorch or timm.

    Names with a colon or a slash are those of models that timm would look up on the network or on the disk.

    Raises
    ------
    ValueError
        If it is such a name, or none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"got the encoder {name!r:.100}, which is not a plain name of segmentation_models_pytorch")
    return name
