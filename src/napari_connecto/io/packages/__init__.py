"""Model packages of bioimage.io."""
