"""TIFF, BigTIFF, OME-TIFF and ImageJ stacks."""
