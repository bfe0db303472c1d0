"""Small worlds in which the exhibits happen; they know of no switch."""
