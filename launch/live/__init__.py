"""Watching and steering what runs: snapshots, metrics, the live view, the shell."""
