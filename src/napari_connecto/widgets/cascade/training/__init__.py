"""The Train tab: labels, reviewed rectangles, budget, and the bar that trains."""
