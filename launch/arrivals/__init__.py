"""When guests are launched: synthetic streams and replay of recorded ones."""
