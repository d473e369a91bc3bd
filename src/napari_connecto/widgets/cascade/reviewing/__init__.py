"""Reviewing detections: one panel, a table, crops, tags, and objects added by clicks."""
