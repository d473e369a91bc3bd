"""Glue to napari: the only home of napari, Qt and magicgui."""
