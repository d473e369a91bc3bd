"""Broken and hostile input: `tests/test_fuzz.py` tries a little of it, `benchmarks/fuzz.py` much."""
