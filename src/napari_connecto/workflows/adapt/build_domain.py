"""Build a domain from a published data set: shown first, downloaded once, then trained like any other domain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_connecto.core.amounts import bytes_text
from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.jobs import Job
from napari_connecto.core.phases import Phases
from napari_connecto.core.settings import settings
from napari_connecto.io.disk import lock, storing
from napari_connecto.io.packages.resumable import download_job, remote_size
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.datasets.apart import load_job
from napari_connecto.models.datasets.loaders import Source, em_dataset, sources
from napari_connecto.models.datasets.table import EmDataset
from napari_connecto.workflows.adapt.domains import Domain, load_encoder
from napari_connecto.workflows.adapt.params import About, DomainParams
from napari_connecto.workflows.adapt.train_domain import train_domain_job
from napari_connecto.workflows.shared.library import library_models, user_library

PREFIX = "torch_em:"
DOWNLOADING, UNPACKING, TRAINING = "downloading", "unpacking", "training the domain"


@dataclass(frozen=True)
class OfferedData:
    """A data set, and what is to be downloaded: files and their bytes, 0 where the server does not say."""

    dataset: EmDataset
    folder: Path
    files: tuple[Source, ...]
    sizes: tuple[int, ...]

    def lines(self) -> list[str]:
        """What to know before a download."""
        data = self.dataset
        voxel = " x ".join(f"{v:g}" for v in data.voxel_nm)
        return [
            f"{data.name}: {data.modality} of {data.tissue} ({data.organism}), {voxel} nm",
            f"  download: {self._amount()}, into {self.folder}",
            f"  licence: {data.licence or 'not stated by the loader; ask the authors before you pass weights on'}",
            f"  cite: {data.citation}; loader: torch_em, https://github.com/constantinpape/torch-em",
        ]

    def _amount(self) -> str:
        if self.dataset.block is not None:
            extent = " x ".join(map(str, self.dataset.block))
            return f"a block of {extent} voxels, at most {bytes_text(self.dataset.most_bytes)}"
        left = [size for file, size in zip(self.files, self.sizes, strict=True) if not self.there(file)]
        if not left:
            return "nothing, the data are already there"
        known = bytes_text(sum(left)) if all(left) else "size not stated by the server"
        return f"{known} in {len(left)} file{'' if len(left) == 1 else 's'}"

    def there(self, file: Source) -> bool:
        """Whether a file is in the folder already."""
        return (self.folder / file.name).exists()


def offered_data(source: str, library: str | Path | None = None, data: str | Path | None = None) -> OfferedData:
    """Look up a data set, and ask its server for the sizes of the files that are not there.

    Parameters
    ----------
    source
        "torch_em:NAME", NAME of `napari_connecto.models.datasets.table.DATASETS`.
    library
        Folder that gets the domain; default: the user's library.
    data
        Folder of downloaded data; default: ``datasets`` in the results folder.

    Raises
    ------
    InputError
        If there is no such data set, the extra ``torch-em`` is not installed, or the server cannot be reached.
    StoreError
        If the library has a model of this name already.
    """
    if not source.startswith(PREFIX):
        raise InputError(f"got '{source:.100}'; give {PREFIX}NAME, see `napari-connecto domains sources`")
    dataset = em_dataset(source.removeprefix(PREFIX))
    known = library_models(library).get(dataset.name)
    if known is not None:
        raise StoreError(
            f"the library has '{dataset.name}' already, in '{known}'; delete that folder to build it again"
        )
    folder = (Path(data) if data is not None else settings().results / "datasets") / dataset.name
    files = sources(dataset)
    sizes = tuple(0 if (folder / file.name).exists() else remote_size(file.address) for file in files)
    return OfferedData(dataset, folder, files, sizes)


def built_job(offer: OfferedData, library: str | Path | None = None, params: DomainParams | None = None) -> Job[Domain]:
    """Download what `offered_data` found, and train a domain of it; an interrupted download is continued.

    Closed at any moment, it ends within a second; what a loader has not finished is deleted.

    Raises
    ------
    InputError, ModelError, StoreError
        As `napari_connecto.io.packages.resumable.download_job`, `load_job` and `train_domain_job`; and if another build
        is working in the folder of the data.
    """
    params, dataset = params or DomainParams(label_kind="instances"), offer.dataset
    phases = Phases({DOWNLOADING: 60.0, UNPACKING: 20.0, TRAINING: 0.04 * params.steps * params.batch})
    image, labels = yield from _data_job(offer, phases)
    volume = open_volume(image, array=dataset.raw, voxel_nm=dataset.voxel_nm)
    truth = open_volume(labels, array=dataset.labels, voxel_nm=dataset.voxel_nm)
    told = f"{dataset.citation}; by torch_em ({dataset.name})"
    about = About(dataset.organism, dataset.tissue, dataset.modality, told, dataset.licence or "not stated")
    out = (Path(library) if library is not None else user_library()) / dataset.name
    encoder = load_encoder(library)
    return (yield from phases.run(TRAINING, train_domain_job(dataset.name, volume, truth, out, encoder, params, about)))


def _data_job(offer: OfferedData, phases: Phases) -> Job[tuple[Path, Path]]:
    """The files of image and labels; their folder is locked while they are downloaded."""
    with storing(offer.folder):
        offer.folder.mkdir(parents=True, exist_ok=True)
    held = lock(offer.folder / ".lock", offer.folder)
    try:
        for file, size in zip(offer.files, offer.sizes, strict=True):
            if size and not offer.there(file):  # files of unknown size are left to the loader
                path = offer.folder / file.name
                job = download_job(file.address, path, size=size, sha256=file.sha256, what=file.name)
                yield from phases.run(DOWNLOADING, job)
        return (yield from phases.run(UNPACKING, load_job(offer.dataset, offer.folder)))
    finally:
        held.release()
