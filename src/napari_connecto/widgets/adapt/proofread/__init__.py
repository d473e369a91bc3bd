"""Proofreading of segments by clicks."""
