"""Export and import of models as bioimage.io packages."""
