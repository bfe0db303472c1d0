"""squeezed's policy apart from Xen, as in the original: what `toolstack/squeezed.py` decides with (Q1-Q7)."""
