"""What docks share: forms, job bars, image inputs, plots."""
