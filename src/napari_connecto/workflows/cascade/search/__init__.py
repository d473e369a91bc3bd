"""Running a cascade: chunks from coarse to fine, objects, an audit of the rejected chunks."""
