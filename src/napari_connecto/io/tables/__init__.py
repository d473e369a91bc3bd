"""Tables and points, in this package's formats and those of other programs."""
