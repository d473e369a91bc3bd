"""From detections to what they are used for: measurements, counts per region, fields of view for a microscope."""
