"""Array views: computed when read, nothing copied."""
