"""Computing what is looked at: tiles of a view, nearest to its centre first, kept for when it comes back."""
