"""Cascade detection: coarse detectors rule out background, fine ones classify what remains."""
