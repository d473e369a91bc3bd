"""Before and after, side by side, swiped, and as bars."""
