"""Arrays seen differently: computed where they are read, nothing copied."""
