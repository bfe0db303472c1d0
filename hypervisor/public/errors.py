"""Errors a caller can see: Xen's own public numbers, and the wire's own names.

A hypercall answers a negative `Errno` (rule 0.8). A refusal by the wire itself (unknown peer, no
credit, malformed bytes) is a `WireError` and never looks like an errno. All answers are definite:
the operation did or did not happen as told. Only a lost connection or a time-out is indefinite.
"""

from enum import IntEnum, StrEnum
from typing import Final

from msgspec import Struct


class Errno(IntEnum):
    """Xen's public error numbers (xen/include/public/errno.h); replies carry them negated."""

    EPERM = 1
    ENOENT = 2
    ESRCH = 3
    E2BIG = 7
    EAGAIN = 11
    ENOMEM = 12
    EACCES = 13
    EFAULT = 14
    EBUSY = 16
    EEXIST = 17
    EXDEV = 18
    ENODEV = 19
    EINVAL = 22
    ENOSPC = 28
    ERANGE = 34
    ENOSYS = 38
    ERESTART = 85
    EOPNOTSUPP = 95
    EFROZEN = 1000  # tmem only
    EEMPTY = 1001  # tmem only


class WireError(StrEnum):
    """Why the wire refused a message. The message changed nothing."""

    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    UNKNOWN_PEER = "unknown-peer"
    BAD_SECRET = "bad-secret"
    STALE_INCARNATION = "stale-incarnation"
    STALE_SEQUENCE = "stale-sequence"
    NO_CREDIT = "no-credit"
    NOT_PERMITTED = "not-permitted"
    DOMAIN_GONE = "domain-gone"
    SHUTTING_DOWN = "shutting-down"


class ErrorMeaning(Struct, frozen=True):
    """One row of the error reference: which operations answer `errno`, and what it says."""

    errno: Errno
    operations: tuple[str, ...]
    meaning: str


ERROR_TABLE: Final[tuple[ErrorMeaning, ...]] = (
    ErrorMeaning(
        Errno.EPERM,
        ("claim_pages", "domctl", "sysctl", "memory ops (4.3 only)", "memory_exchange"),
        "The caller is not the control domain (C8, A4), or the order is above its limit (A17).",
    ),
    ErrorMeaning(
        Errno.E2BIG,
        ("claim_memory", "nominate_gfn"),
        "More than 65 entries in a claim set (N2); somebody else has the page to be shared mapped (S5).",
    ),
    ErrorMeaning(
        Errno.EBUSY,
        ("nominate_gfn", "sharing ring"),
        "The domain was killed meanwhile (S5), or the ring has a helper already (S10).",
    ),
    ErrorMeaning(Errno.ENOENT, ("xenstore", "claim_memory"), "No such node: in the store; of the host (N2)."),
    ErrorMeaning(
        Errno.ESRCH,
        (
            *("domctl", "current_reservation", "maximum_reservation", "memory_exchange", "map_foreign"),
            *("sharing_op", "pod_target", "read and write of a page"),
        ),
        "No such domain (A16, P9); in claim_memory also a dying one (N2).",
    ),
    ErrorMeaning(
        Errno.ENOMEM,
        (
            *("claim_pages", "claim_memory", "createdomain", "set_paging_mempool_size", "memory_exchange"),
            *("set_pod_target", "map_foreign", "write of a shared page by the control domain"),
        ),
        "Not enough unclaimed memory (C15, A17, A31, S9), max_pages reached (A29, S11), or a shared page to "
        "exchange (A17).",
    ),
    ErrorMeaning(Errno.EACCES, ("xenstore",), "The guest may not read or write that node."),
    ErrorMeaning(Errno.EEXIST, ("createdomain",), "The domid asked for is taken."),
    ErrorMeaning(
        Errno.EINVAL,
        (
            "claim_pages",
            "claim_memory",
            "setnodeaffinity",
            "setvnumainfo",
            "page_offline_op",
            "destroydomain",
            "memory_exchange",
            "map_foreign",
            "xenstore",
            "set_paging_mempool_size",
            "sharing_op",
            "pod_target",
        ),
        "A field is out of range, the domain is unknown or dying, or a claim exists (C2-C13).",
    ),
    ErrorMeaning(
        Errno.EOPNOTSUPP,
        ("claim_pages", "claim_memory", "set_paging_mempool_size"),
        "Cache colouring is on (C1), or the domain kind has no paging pool.",
    ),
    ErrorMeaning(
        Errno.ENOSYS,
        ("claim_pages", "claim_memory", "tmem (from 4.13)", "sharing_op"),
        "The hypervisor has no such operation.",
    ),
    ErrorMeaning(
        Errno.EAGAIN,
        ("destroydomain (4.3)", "xenstore transaction"),
        "Preempted: call again (C31); a node read has changed meanwhile.",
    ),
    ErrorMeaning(
        Errno.ENODEV,
        ("tmem", "sharing_op", "sharing ring"),
        "tmem is switched off, or no such pool (T8); the domain has no HAP, or sharing is off (S1).",
    ),
    ErrorMeaning(
        Errno.EFAULT,
        ("tmem put, get", "read and write of a page"),
        "The frame is not the caller's (T10, T11), or a hole.",
    ),
    ErrorMeaning(Errno.ENOSPC, ("tmem put",), "A duplicate was not stored; the old page is lost (T10)."),
    ErrorMeaning(Errno.ERANGE, ("tmem set client info",), "More pools than a client may have."),
    ErrorMeaning(Errno.EFROZEN, ("tmem put, flush",), "The client is frozen (T10, T12, T14)."),
    ErrorMeaning(Errno.EEMPTY, ("tmem get",), "The pool holds no page at all (T11)."),
)
"""Every errno the emulated releases answer, by operation. `docs/abi.md` is generated from it."""


def errno_name(ret: int) -> str:
    """The errno's name for a negative return value, "" for success."""
    if ret >= 0:
        return ""
    try:
        return Errno(-ret).name
    except ValueError:
        return str(-ret)
