"""Files to volumes and back: the only home of zarr, ome-zarr, tifffile, h5py and fsspec."""
