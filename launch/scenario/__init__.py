"""Scenario files: what is run, on which host, against which guests."""
