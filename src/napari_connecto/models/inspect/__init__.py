"""Activations of a network: taking, replacing and measuring them."""
