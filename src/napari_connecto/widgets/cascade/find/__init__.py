"""Choosing any detector in the dock "Cascade detection", with its options, and making a cascade around it."""
