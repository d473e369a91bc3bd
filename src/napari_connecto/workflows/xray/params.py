"""Params of X-ray simulation and of alignment; loads no torch.

The meaning of each parameter of the forward model, and what the model leaves out, is in ``docs/simulated.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_connecto.core.params import check, param

STAIN = ("dark", "bright")
"""Appearance of heavy-metal stain."""


@dataclass(frozen=True)
class XrayParams:
    """From EM to an X-ray volume of the same tissue; amplitudes are shares of the density range, full stain is 1.

    Each parameter names its source; values without one are set so that membranes are partly lost.
    """

    voxel_nm: tuple[float, float, float] | None = param(
        None,
        "Voxel size of the X-ray volume (z y x); empty: 30 nm, or the EM's if that is larger.",
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
        "Contrast of fine relative to coarse structure after phase retrieval, the ratio of true to assumed delta/beta "
        "(after Paganin et al. 2002); 1: none, below 1: over-smoothed.",
        low=0.1,
        high=20.0,
    )
    edge_length_nm: float = param(
        40.0,
        "Length below which it sets in; xray_physics.paganin_length_nm gives it for a beamline's settings.",
        unit="nm",
        low=0.0,
        high=1e6,
        advanced=True,
    )
    contrast: float = param(
        1.0,
        "Exponent of the contrast curve: the density is raised to this power; 1: linear.",
        low=0.1,
        high=10.0,
        advanced=True,
    )
    photons: float = param(
        2000.0, "Counts per X-ray voxel without stain; 0: no counting noise.", unit="photons", low=0.0
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
        10.0, "Standard deviation of the detector's readout noise.", unit="photons", low=0.0, advanced=True
    )
    noise_fwhm: float = param(
        0.0,
        "Correlation of that noise: full width at half maximum of the Gaussian it is smoothed by, its standard "
        "deviation kept; 0: independent from voxel to voxel.",
        unit="voxels",
        low=0.0,
        high=20.0,
        advanced=True,
    )
    background: float = param(
        0.1, "Amplitude of the slow background, a quadratic field with random coefficients.", low=0.0, high=2.0
    )
    rings: float = param(
        0.02, "Standard deviation of ring artefacts around the axis of rotation, along z.", low=0.0, high=2.0
    )
    ring_axis_nm: tuple[float, float] | None = param(
        None, "Position of that axis (y x), world; empty: the centre.", unit="nm", advanced=True
    )
    stripes: float = param(
        0.01, "Standard deviation of straight in-plane stripes, each of one bad projection.", low=0.0, high=2.0
    )
    em_stain: str = param("dark", "Appearance of stain in the EM.", choices=STAIN)
    xray_stain: str = param("dark", "Appearance of stain in the X-ray volume.", choices=STAIN)
    dtype: str = param(
        "uint8",
        "Data type; its range spans percentiles 0.1 to 99.9.",
        choices=("uint8", "uint16"),
        advanced=True,
    )
    seed: int = param(0, "Random seed.", low=0, advanced=True)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class PairParams:
    """How an X-ray and an EM volume of the same tissue are aligned."""

    voxel_nm: tuple[float, float, float] | None = param(
        None,
        "Voxel size of the common grid (z y x): the EM's nearest level is used; empty: the finest.",
        unit="nm",
        low=0.1,
        high=1e6,
    )
    affine: bool = param(True, "Affine alignment (rotation, scale, shear); otherwise a shift only.")
    largest_shift_nm: float = param(
        2000.0, "Larger shifts are refused, because the stated positions must then be wrong.", unit="nm", low=0.0
    )
    block_nm: float = param(
        640.0, "Side of the blocks whose residual shift is measured.", unit="nm", low=10.0, advanced=True
    )
    most_residual_nm: float = param(
        0.0,
        "Largest median residual of an accepted pair; 0: one X-ray voxel.",
        unit="nm",
        low=0.0,
        advanced=True,
    )
    least_overlap: float = param(
        0.1, "Smallest share of the smaller volume inside the other.", low=0.001, high=1.0, advanced=True
    )
    most_bad: float = param(
        0.2,
        "Largest share of voxels without a finite value.",
        low=0.0,
        high=1.0,
        advanced=True,
    )

    def __post_init__(self) -> None:
        check(self)
