"""The whole laboratory in one thread and in virtual time."""
