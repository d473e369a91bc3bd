"""The box "Use what was found": measurements, counts per region, fields of view."""
