"""Annotation: which patches to label, and the session that keeps the labels."""
