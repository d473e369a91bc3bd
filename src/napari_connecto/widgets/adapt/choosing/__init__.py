"""Models as cards."""
