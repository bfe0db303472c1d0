"""xenstore requests: the tree by which a toolstack and a guest talk (Xen's io/xs_wire.h).

Tags are 0x10000 | xsd_sockmsg_type. A guest may read below /local/domain/<own domid> and write below
its own data/, control/ and device/; the control domain may do anything. Paths are absolute, values text.
"""

from typing import Final

from msgspec import Struct

XENSTORE: Final = 0x10000


class StoreDirectory(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=XENSTORE | 1):
    """XS_DIRECTORY: names of a node's children, sorted; the value is `StoreNames`."""

    path: str


class StoreRead(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=XENSTORE | 2):
    """XS_READ: a node's text; the value is `StoreText`. ENOENT when absent."""

    path: str


class StoreWatch(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=XENSTORE | 4):
    """XS_WATCH: be told of every change at or below `path`; fires once at once, as Xen's does."""

    path: str
    token: str


class StoreUnwatch(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=XENSTORE | 5):
    """XS_UNWATCH: ENOENT when there is no such watch of this caller."""

    path: str
    token: str


class StoreWrite(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=XENSTORE | 11):
    """XS_WRITE: set a node's text, creating it and its parents."""

    path: str
    value: str


class StoreRemove(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=XENSTORE | 13):
    """XS_RM: remove a node and all below it. ENOENT when absent."""

    path: str


class StoreTransaction(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=XENSTORE | 7):
    """A whole transaction as XS_TRANSACTION_END sees it: what it read, and what it wants to write.

    EAGAIN, and nothing written, when a node read has another text by now (None: it was absent). Writes are
    done in order, None removes. Control domain only, else EACCES. Reads are made beforehand with XS_READ; a
    transaction that is never ended has no effect in xenstore either, so its start needs no request.
    """

    expected: tuple[tuple[str, str | None], ...]  # in: (path, text as read)
    writes: tuple[tuple[str, str | None], ...]  # in: (path, new text)

    @property
    def path(self) -> str:
        """The whole tree: any node may be meant."""
        return "/"


StoreOp = StoreDirectory | StoreRead | StoreWatch | StoreUnwatch | StoreWrite | StoreRemove | StoreTransaction


class StoreText(Struct, frozen=True, array_like=True, tag=20):
    """Value of a read."""

    value: str


class StoreNames(Struct, frozen=True, array_like=True, tag=21):
    """Value of a directory listing."""

    names: tuple[str, ...]


StoreValue = StoreText | StoreNames


def domain_path(domid: int) -> str:
    """The xenstore home of a domain."""
    return f"/local/domain/{domid}"


def memory_target_path(domid: int) -> str:
    """memory/target, KiB: what the toolstack asks the balloon driver to reach (G7)."""
    return f"/local/domain/{domid}/memory/target"


def static_max_path(domid: int) -> str:
    """memory/static-max, KiB: the domain's lifetime maximum."""
    return f"/local/domain/{domid}/memory/static-max"


def feature_balloon_path(domid: int) -> str:
    """control/feature-balloon: written by a guest whose balloon driver runs."""
    return f"/local/domain/{domid}/control/feature-balloon"


def uncooperative_path(domid: int) -> str:
    """memory/uncooperative: set by the toolstack on a domain that will not balloon (Q3)."""
    return f"/local/domain/{domid}/memory/uncooperative"
