"""What a running job keeps on disk: tiles, journals, events, drafts."""
