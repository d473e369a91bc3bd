"""Adapting a boundary model: ranking domains, preparing, fine-tuning, comparing."""
