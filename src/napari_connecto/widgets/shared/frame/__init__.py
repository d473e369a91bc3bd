"""The frame that all docks share: tabs, image line, keys, colours of the theme."""
