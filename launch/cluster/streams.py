"""Random streams by purpose, so that what one party draws never shifts what another one sees."""

from random import Random


def stream(seed: int, repeat: int, purpose: str) -> Random:
    """The stream of `purpose` in this repeat: the same for every scheme, which makes runs paired."""
    return Random(f"claimlab/{seed}/{repeat}/{purpose}")


def number(seed: int, repeat: int, purpose: str) -> int:
    """A 63-bit number for a party that seeds a stream of its own."""
    return stream(seed, repeat, purpose).getrandbits(63)


def toolstack_seed(seed: int, repeat: int, toolstack: int) -> str:
    """The seed of a toolstack's stream; toolstacks count from 0."""
    return f"{seed}/{repeat}/toolstack {toolstack}"
