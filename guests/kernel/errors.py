"""Why a guest kernel stops by itself."""


class KernelBugError(Exception):
    """A BUG() of the guest's kernel: the guest has crashed. The message says what it met."""
