"""Choosing levels and thresholds of a cascade from scores on held-out blocks."""
