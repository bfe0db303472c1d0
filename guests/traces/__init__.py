"""Readers of public memory traces, as their publishers ship them."""
