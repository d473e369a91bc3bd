"""napari's layers and their coordinates, in nanometres and voxels."""
