"""Reference pages made from the ABI's own declarations, so that they cannot drift."""
