"""The seed's argument as experiments."""
