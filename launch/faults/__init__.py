"""Holds and faults of a scenario: who is stopped, killed or paused, when, and what came of it."""
