"""The demo, the doctor and the view in neuroglancer."""
