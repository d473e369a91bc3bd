"""What can go wrong, said in one line: what was got, what is allowed, what to do."""


class ConnectoError(Exception):
    """Base of every error that napari-connecto raises on purpose."""


class InputError(ConnectoError, ValueError):
    """Something the user gave cannot be used."""


class VoxelSizeError(InputError):
    """A voxel size is absent, or no level fits the model."""


class ModelError(InputError):
    """Weights or a card that cannot be used or trusted."""


class ChunkError(ConnectoError):
    """A chunk of the input is missing or damaged; the message names it."""


class StoreError(ConnectoError):
    """An output cannot be made, resumed or written."""


class ClusterError(ConnectoError):
    """A Dask cluster cannot go on; what it finished is kept."""


class Cancelled(ConnectoError):
    """The user stopped a job; what was finished is kept."""
