"""The dock of cascade detection."""
