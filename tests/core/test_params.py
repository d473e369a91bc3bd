from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.params import check, from_mapping, param


@dataclass(frozen=True)
class Params:
    recall: float = param(0.99, "Share to keep.", low=0.5, high=0.999)
    voxel_nm: tuple[float, ...] | None = param(None, "Voxel size.", unit="nm", low=0.1)
    mode: str = param("fast", "How.", choices=("fast", "exact"))
    free: str = param("", "Anything.")

    def __post_init__(self) -> None:
        check(self)


def test_ranges_and_words_are_checked():
    assert Params(0.5, (4, np.float32(4), np.int64(40)), "exact").recall == 0.5
    with pytest.raises(InputError, match=r"got recall=1\.5; allowed: 0\.5 to 0\.999"):
        Params(1.5)
    with pytest.raises(InputError, match=r"got voxel_nm=\(4, 0, 4\); allowed: 0.1 to inf nm"):
        Params(voxel_nm=(4, 0, 4))
    with pytest.raises(InputError, match="got mode='slow'; allowed: fast, exact"):
        Params(mode="slow")
    with pytest.raises(InputError, match="got recall=nan; allowed"):
        Params(float("nan"))
    with pytest.raises(InputError, match="got recall='high'; it must be a number"):
        Params("high")


def test_from_plain_values():
    assert from_mapping(Params, {"voxel_nm": [4, 4, 40], "free": "x"}) == Params(voxel_nm=(4, 4, 40), free="x")
    with pytest.raises(InputError, match=r"got unknown Params \['colour'\]; known: \['free', 'mode'"):
        from_mapping(Params, {"colour": 1})
    with pytest.raises(InputError, match="got recall=2"):
        from_mapping(Params, {"recall": 2})


def test_metadata_makes_forms():
    field = Params.__dataclass_fields__["voxel_nm"]
    assert (field.metadata["unit"], field.metadata["low"], field.metadata["help"]) == ("nm", 0.1, "Voxel size.")
