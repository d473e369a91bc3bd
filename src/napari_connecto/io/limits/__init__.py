"""Limits and damage: what a file may declare, and naming what cannot be read."""
