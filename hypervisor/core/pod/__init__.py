"""Populate on demand (section 2g)."""
