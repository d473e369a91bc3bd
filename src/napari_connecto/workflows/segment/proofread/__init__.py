"""Proofreading: merge and split segments of a result, undo, and keep every decision; the labels stay as they are."""
