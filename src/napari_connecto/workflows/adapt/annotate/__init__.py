"""Annotation: which patches to label, and the session that stores the labels."""
