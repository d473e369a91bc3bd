"""How small can a model be: channels removed and the rest retrained, or weights set to zero."""
