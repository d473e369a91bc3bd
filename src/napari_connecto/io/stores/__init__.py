"""Files of running jobs: tiles, journals, events, drafts."""
