"""Training a cascade: examples, samples, one detector per level."""
