"""How well the segmentations of several models agree on unlabelled places of a volume, and what follows from it."""
