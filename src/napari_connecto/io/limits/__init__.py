"""Limits on what a file may declare, and messages that name damaged parts."""
