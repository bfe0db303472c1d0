"""The one error of a guest's configuration."""


class GuestConfigError(ValueError):
    """A guest cannot be made as described; the message is one line that names the cure."""
