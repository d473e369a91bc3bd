"""HDF5 datasets."""
