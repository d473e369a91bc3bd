"""A run as a document: the same from a dock, a script and the shell."""
