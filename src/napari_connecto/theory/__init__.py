"""Two theories of computing in superposition, on Boolean toys; numpy only.

`channels`: which clauses a small network computes, read from the signs of its weights (arXiv 2504.08842).
`superposition`: pairwise ANDs on fewer neurons than outputs, and what no network can undercut (arXiv 2409.15318).
`toys`: networks that these are tried on. Nothing here applies to a segmentation network: its inputs are not Boolean and
sparse, and which features it computes, and how many, is not known.
"""

from __future__ import annotations

from napari_connecto.theory.channels import (
    Clause,
    agreement,
    capacity,
    decode_clauses,
    feature_channels,
    interference,
    sign_codes,
    witnesses,
)
from napari_connecto.theory.superposition import (
    TwoAnd,
    code_length,
    false_positive_bound,
    neurons_lower_bound,
    parameters_lower_bound,
    two_and,
)
from napari_connecto.theory.toys import Network, hand_set, train

__all__ = [
    "Clause",
    "Network",
    "TwoAnd",
    "agreement",
    "capacity",
    "code_length",
    "decode_clauses",
    "false_positive_bound",
    "feature_channels",
    "hand_set",
    "interference",
    "neurons_lower_bound",
    "parameters_lower_bound",
    "sign_codes",
    "train",
    "two_and",
    "witnesses",
]
