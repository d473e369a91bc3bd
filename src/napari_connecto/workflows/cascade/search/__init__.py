"""Running a cascade: chunks from coarse to fine, objects, an audit of what was ruled out."""
