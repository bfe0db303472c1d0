"""Replays recordings of a real Xen against the core and counts where the two agree."""
