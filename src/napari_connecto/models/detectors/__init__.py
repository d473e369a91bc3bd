"""Detectors that are no network of ours: Python callables registered by name, and chosen outputs of any model."""
