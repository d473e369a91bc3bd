"""Images in files: TIFF, HDF5, zarr and OME-Zarr, folders of images, precomputed."""
