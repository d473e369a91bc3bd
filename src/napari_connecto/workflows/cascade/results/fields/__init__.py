"""Fields of view for a microscope: few boxes of one size that cover what was found. Numpy and scipy alone.

Everywhere below, elements are boxes that each must lie inside one field: ``low``, ``high`` (n, d), in the axes in which
a field has a size (y, x; with z where it has a depth); fields are given by their lower corners, (f, d).
"""
