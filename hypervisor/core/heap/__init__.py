"""Frames of the host: which are free, who owns them, and where a guest sees them."""
