"""Shared by the docks: forms, job bars, image inputs, plots."""
