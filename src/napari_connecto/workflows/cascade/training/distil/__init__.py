"""Gates that learn from a detector instead of labels: what it finds in a sample of places is their truth."""
