"""Transcendent memory: hypercall 38 and sysctl 24 (Xen's public/tmem.h and sysctl.h; 4.3 and 4.12 only).

The tag of a command is (38 << 8) | cmd; the control operations share the tag of sysctl 24 and name theirs in
`cmd`, in every release: 4.3 had them as cmd 0 and cmd 101 of hypercall 38. From 4.13 on every one of them
answers ENOSYS. A page's content is a number of 64 bits that stands for 4 KiB; 0 is the page of zeros.
"""

from typing import Final

from msgspec import Struct

from hypervisor.public.units import S32, U16, U32, U64

TMEM_OP: Final = 38 << 8
SYSCTL_TMEM_OP: Final = (35 << 8) | 24

TMEM_POOL_PERSIST: Final = 1
TMEM_POOL_SHARED: Final = 2
TMEM_POOL_PRECOMPRESSED: Final = 4
TMEM_POOL_PAGESIZE_SHIFT: Final = 4
TMEM_POOL_PAGESIZE_MASK: Final = 0xF
TMEM_POOL_RESERVED_BITS: Final = 0x00FF_FF00
TMEM_POOL_VERSION_SHIFT: Final = 24
TMEM_SPEC_VERSION: Final = 1

TMEM_EPHEMERAL: Final = TMEM_SPEC_VERSION << TMEM_POOL_VERSION_SHIFT
"""Flags of a private ephemeral pool: cleancache."""
TMEM_PERSISTENT: Final = TMEM_EPHEMERAL | TMEM_POOL_PERSIST
"""Flags of a private persistent pool: frontswap."""

MAX_POOLS_PER_DOMAIN: Final = 16
MAX_GLOBAL_SHARED_POOLS: Final = 16
TMEM_CLI_ID_NULL: Final = 0xFFFF
"""In a control operation: all clients."""

TMEM_THAW: Final = 0
TMEM_FREEZE: Final = 1
TMEM_FLUSH: Final = 2
TMEM_DESTROY: Final = 3
TMEM_LIST: Final = 4
TMEM_GET_CLIENT_INFO: Final = 5
TMEM_SET_CLIENT_INFO: Final = 6
TMEM_QUERY_FREEABLE_MB: Final = 8
TMEM_SAVE_BEGIN: Final = 10
TMEM_SET_AUTH: Final = 11
TMEM_RESTORE_BEGIN: Final = 30
TMEM_SAVE_END: Final = 21

CLIENT_FROZEN: Final = 1
CLIENT_COMPRESS: Final = 2
CLIENT_MIGRATING: Final = 4

Oid = tuple[U64, U64, U64]
"""An object's name within its pool."""
Uuid = tuple[U64, U64]
"""A shared pool's name, low and high half."""


class TmemNewPool(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=TMEM_OP | 1):
    """TMEM_NEW_POOL: answers the lowest free pool id of the caller, EPERM or ENOMEM (T9).

    A shared pool without authorisation, or with a uuid of all ones, silently becomes private.
    """

    flags: U32  # in: TMEM_POOL_*, version in bits 24 and up
    uuid: Uuid = (0, 0)  # in: name of a shared pool


class TmemDestroyPool(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=TMEM_OP | 2):
    """TMEM_DESTROY_POOL: 1 done, 0 no such pool; the pages go to the tmem list, not to the heap (T9, T20)."""

    pool_id: S32  # in


class TmemPutPage(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=TMEM_OP | 4):
    """TMEM_PUT_PAGE: 1 stored; ENOMEM, EFROZEN, EFAULT, or ENOSPC for a duplicate (T10)."""

    pool_id: S32  # in
    oid: Oid  # in
    index: U32  # in
    cmfn: U64  # in: the caller's frame to copy from, a gfn (HVM) or mfn (PV)
    content: U64 | None = None  # in: what stands in that frame; None: what was last written there


class TmemGetPage(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=TMEM_OP | 5):
    """TMEM_GET_PAGE: 1 with the value `TmemPage`, 0 a miss, EEMPTY when the pool has no page at all (T11).

    A hit in a private ephemeral pool removes the page.
    """

    pool_id: S32  # in
    oid: Oid  # in
    index: U32  # in
    cmfn: U64  # in: the caller's frame to copy to


class TmemFlushPage(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=TMEM_OP | 6):
    """TMEM_FLUSH_PAGE: 1 whether found or not; acts while frozen too, then EFROZEN (T12)."""

    pool_id: S32  # in
    oid: Oid  # in
    index: U32  # in


class TmemFlushObject(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=TMEM_OP | 7):
    """TMEM_FLUSH_OBJECT: as TMEM_FLUSH_PAGE for every page of the object (T12)."""

    pool_id: S32  # in
    oid: Oid  # in


class TmemOther(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=TMEM_OP | 0xFF):
    """Any other command by its number: only its refusal is emulated (T5, T6, T8)."""

    cmd: U32  # in
    pool_id: S32 = 0  # in


class TmemClientInfo(Struct, frozen=True, array_like=True, tag=34):
    """Value and argument of the client information operations (xen_tmem_client)."""

    version: U32 = TMEM_SPEC_VERSION
    maxpools: U32 = MAX_POOLS_PER_DOMAIN
    nr_pools: U32 = 0
    flags: U32 = 0  # CLIENT_*
    weight: U32 = 0


class TmemControl(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=SYSCTL_TMEM_OP):
    """XEN_SYSCTL_tmem_op: what a toolstack asks of tmem (T14-T17). Control domain only, else EPERM.

    THAW, FREEZE and DESTROY answer 0; FLUSH the KiB given to the heap; QUERY_FREEABLE_MB MiB; LIST 0 and the
    value `TmemList`; GET_CLIENT_INFO 0 and `TmemClientInfo`; SET_AUTH 1. An unknown client is -1, but ENOENT
    for SET_CLIENT_INFO and the SAVE operations and ENOMEM for SET_AUTH.
    """

    cmd: U32  # in: TMEM_*
    cli_id: U16 = TMEM_CLI_ID_NULL  # in: a domid, or all
    arg: U32 = 0  # in: KiB (FLUSH), 1 for the long form (LIST), 1 for live migration (SAVE_BEGIN)
    uuid: Uuid = (0, 0)  # in: SET_AUTH
    auth: bool = True  # in: SET_AUTH: give, or take away
    info: TmemClientInfo | None = None  # in: SET_CLIENT_INFO


class TmemPage(Struct, frozen=True, array_like=True, tag=32):
    """Value of a hit: the content that was put."""

    content: int


class TmemList(Struct, frozen=True, array_like=True, tag=33):
    """Value of LIST: lines as Xen prints them (T17)."""

    lines: tuple[str, ...]


TmemOp = (
    TmemNewPool | TmemDestroyPool | TmemPutPage | TmemGetPage | TmemFlushPage | TmemFlushObject | TmemOther
)
TmemValue = TmemPage | TmemList | TmemClientInfo
