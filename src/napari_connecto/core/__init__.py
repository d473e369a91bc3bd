"""Vocabulary of the whole package: numpy and the standard library only."""
