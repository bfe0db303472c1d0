"""Historic bugs, each with the switch that brings it back, the world that shows it, and a schedule."""
