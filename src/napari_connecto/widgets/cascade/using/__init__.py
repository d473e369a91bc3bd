"""The fold "Use what was found": measurements, counts per region, fields of view."""
