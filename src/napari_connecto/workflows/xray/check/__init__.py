"""Where a translation may be wrong, and what may be wrong with its segments."""
