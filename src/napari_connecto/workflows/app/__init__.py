"""The demo, the doctor, and viewing in neuroglancer."""
