"""X-ray to EM: simulation, alignment, training, translation, uncertainty."""
