"""The one error of the trace readers."""

from __future__ import annotations


class TraceError(ValueError):
    """A trace cannot be used; the message is one line that names the place and the cure."""
