"""The napari plugin: the only home of napari, Qt and magicgui."""
