"""Shared by workflows: choosing the level to read, whole arrays, patches of tissue, filling stores."""
