"""The parameters of X-ray to EM's data side, the forward model and the alignment; loads no torch.

What each parameter of the forward model stands for, and what the model leaves out, is in ``docs/simulated.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_connecto.core.params import check, param

STAIN = ("dark", "bright")
"""How heavy-metal stain looks."""


@dataclass(frozen=True)
class XrayParams:
    """From EM to an X-ray volume of the same tissue; amplitudes are shares of the range of density, stain is 1.

    Sources are named at each parameter; values without one are ours, set so that membranes are partly lost.
    """

    voxel_nm: tuple[float, float, float] | None = param(
        None,
        "Voxel of the X-ray volume (z y x); empty: 30 nm, or the EM's where that is larger.",
        unit="nm",
        low=0.1,
        high=1e6,
    )
    fwhm_nm: tuple[float, float, float] = param(
        (60.0, 60.0, 60.0),
        "Resolution (z y x): full width at half maximum of a Gaussian, on top of the EM's own. Holographic "
        "nano-tomography reaches below 100 nm (Kuan et al. 2020).",
        unit="nm",
        low=0.0,
        high=1e6,
    )
    edge_gain: float = param(
        1.5,
        "Contrast of fine over that of coarse structure by propagation that phase retrieval left, the ratio of true to "
        "assumed delta/beta (after Paganin et al. 2002); 1: none, below 1: over-smoothed.",
        low=0.1,
        high=20.0,
    )
    edge_length_nm: float = param(
        40.0,
        "Length at which that sets in; see xray_physics.paganin_length_nm for what a beamline's settings give.",
        unit="nm",
        low=0.0,
        high=1e6,
        advanced=True,
    )
    photons: float = param(
        2000.0, "Counts per X-ray voxel where there is no stain; 0: no counting noise.", unit="photons", low=0.0
    )
    absorption: float = param(
        0.5,
        "Optical depth of full stain in one voxel's counts (Beer-Lambert): the noise of density is about "
        "1 / (absorption sqrt(photons)).",
        low=0.01,
        high=10.0,
        advanced=True,
    )
    readout: float = param(
        10.0, "Standard deviation of the detector's own noise.", unit="photons", low=0.0, advanced=True
    )
    background: float = param(
        0.1, "Greatest slow deviation, a quadratic field with random coefficients.", low=0.0, high=2.0
    )
    rings: float = param(
        0.02, "Standard deviation of ring artefacts around the axis of rotation, along z.", low=0.0, high=2.0
    )
    ring_axis_nm: tuple[float, float] | None = param(
        None, "Where that axis is (y x), world; empty: the middle.", unit="nm", advanced=True
    )
    stripes: float = param(
        0.01, "Standard deviation of straight stripes in the plane, each of one bad projection.", low=0.0, high=2.0
    )
    em_stain: str = param("dark", "How stain looks in the EM.", choices=STAIN)
    xray_stain: str = param("dark", "How stain looks in the X-ray volume.", choices=STAIN)
    dtype: str = param(
        "uint8",
        "Type of a voxel; its range spans percentiles 0.1 to 99.9.",
        choices=("uint8", "uint16"),
        advanced=True,
    )
    seed: int = param(0, "Of everything random.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class PairParams:
    """How an X-ray and an EM volume of the same tissue are laid over each other."""

    voxel_nm: tuple[float, float, float] | None = param(
        None,
        "Voxel of the common grid (z y x): the EM's level nearest to it is taken; empty: the finest.",
        unit="nm",
        low=0.1,
        high=1e6,
    )
    affine: bool = param(True, "Also turn, scale and shear; otherwise only shift.")
    largest_shift_nm: float = param(
        2000.0, "Shifts beyond this are refused: the stated positions are then taken to be wrong.", unit="nm", low=0.0
    )
    block_nm: float = param(
        640.0, "Side of the blocks whose residual shift is measured.", unit="nm", low=10.0, advanced=True
    )
    most_residual_nm: float = param(
        0.0,
        "Median residual from which on the pair is refused; 0: one X-ray voxel.",
        unit="nm",
        low=0.0,
        advanced=True,
    )
    least_overlap: float = param(
        0.1, "Share of the smaller volume that must lie in the other.", low=0.001, high=1.0, advanced=True
    )
    most_bad: float = param(
        0.2,
        "Share of voxels without a finite value from which on a volume is refused.",
        low=0.0,
        high=1.0,
        advanced=True,
    )

    def __post_init__(self) -> None:
        check(self)
