"""Toolstacks of the exhibits: a sound one each, and what was wrong with it as a subclass."""
