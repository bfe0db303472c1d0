"""Search of all interleavings of a small world for the ones that break a promise."""
