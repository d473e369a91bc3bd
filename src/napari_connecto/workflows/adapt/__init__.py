"""Adapting a boundary model: rank domains, prepare without labels, fine-tune, compare."""
