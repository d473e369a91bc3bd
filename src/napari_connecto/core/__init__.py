"""The vocabulary every other part speaks: numpy and the standard library only."""
