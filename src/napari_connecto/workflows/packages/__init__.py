"""Models as bioimage.io packages, out and in."""
