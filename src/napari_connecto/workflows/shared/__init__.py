"""What workflows share: the level to read, whole arrays, patches of tissue, stores to fill."""
