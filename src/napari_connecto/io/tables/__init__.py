"""Tables and points, and the formats of other programs."""
