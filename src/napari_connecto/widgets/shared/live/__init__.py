"""The button *Live* of the docks: what is in view is computed and shown while the user moves."""
