"""Instance segmentation from a boundary model, block by block."""
