"""Recipes: a frozen params dataclass and one function each."""
