"""The exhibits, by what was at fault."""
