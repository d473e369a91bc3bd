"""Training a translator, and adapting one: targets, microscopes, networks, recalibration."""
