"""The built-in small worlds, one file each."""
