"""The five steps as a row, and the one next action."""
