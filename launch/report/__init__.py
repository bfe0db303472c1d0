"""A run for readers: one page that opens from disk, and a trace for the viewers of traces."""
