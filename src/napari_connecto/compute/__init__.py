"""Where tiles run: the only home of dask and distributed."""
