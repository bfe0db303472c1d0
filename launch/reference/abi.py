"""docs/abi.md from hypervisor/public: every message, its tag, its fields and their comments.

`python -m launch.reference.abi` writes the page, and the tables of messages in docs/protocol.md; a test fails
when either is stale.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from hypervisor.public import observation, orders, protocol
from hypervisor.public.access import AccessOp
from hypervisor.public.counterfactual import Counterfactual
from hypervisor.public.domctl import Domctl, ForeignOp, Sysctl
from hypervisor.public.errors import ERROR_TABLE, WireError
from hypervisor.public.memory import MemoryOp
from hypervisor.public.numa import MemoryClaim, NumaDomctl, Numainfo, NumaNode
from hypervisor.public.offlining import OfflineSysctl
from hypervisor.public.pod import PodOp
from hypervisor.public.requests import Event, Reply, Value
from hypervisor.public.sharing import SharingOp
from hypervisor.public.tmem import TmemControl, TmemOp
from hypervisor.public.xenstore import StoreOp

PAGE: Final = Path("docs/abi.md")
PROTOCOL: Final = Path("docs/protocol.md")
_TABLES: Final = re.compile(r"(?<=<!-- messages: generated -->\n).*?(?=<!-- end of messages -->)", re.DOTALL)
_MESSAGES: Final = (
    ("To the hypervisor", protocol.ToHypervisor),
    ("From the hypervisor", protocol.FromHypervisor),
    ("To a toolstack, on the order socket", orders.ToToolstack),
    ("From a toolstack, on the order socket", orders.FromToolstack),
    ("To the hypervisor, on the observers' socket", observation.Observe | None),
    ("From the hypervisor, on the observers' socket", observation.Observed),
)
_FIELD: Final = re.compile(r"^ {4}(\w+): (.+?)(?: = .+?)?(?:  # (.*))?$")

SECTIONS: Final[tuple[tuple[str, str, object], ...]] = (
    ("Messages to the hypervisor", "One ZeroMQ frame each.", protocol.ToHypervisor),
    ("Messages from the hypervisor", "One ZeroMQ frame each.", protocol.FromHypervisor),
    ("memory_op", "Tag: 12 << 8 | sub-op. Guests on themselves, toolstacks on anyone.", MemoryOp),
    ("domctl", "Tag: 36 << 8 | command. Control domain only.", Domctl | NumaDomctl),
    ("sysctl", "Tag: 35 << 8 | command. Control domain only.", Sysctl | Numainfo | OfflineSysctl),
    ("Foreign mappings", "Tag: 1 << 8 | n (mmu_update). Control domain only.", ForeignOp),
    ("tmem", "Tag: 38 << 8 | command; sysctl 24 for control. Up to 4.12, then ENOSYS.", TmemOp | TmemControl),
    ("Page sharing", "Tag: (12 << 8 | 22) << 8 | operation; memory_op 18, 19; domctl 56, 58.", SharingOp),
    ("Populate on demand", "Tag: memory_op 16, 17.", PodOp),
    ("Memory accesses", "Tag: 0x20000 | n. No hypercall: what a guest does with its pages.", AccessOp),
    ("xenstore", "Tag: 0x10000 | message type.", StoreOp),
    (
        "Counterfactuals",
        "Not in Xen: the debate's what-ifs, for the schemes named. Control domain only.",
        Counterfactual,
    ),
    ("Values", "The last element of a reply, or nil.", Value),
    ("Parts", "Arrays without a tag, inside the messages above.", MemoryClaim | NumaNode),
    ("Events", "Carried by Notify.", Event),
    ("Launcher to toolstack", "On the order socket; msgpack maps with a `type` key.", orders.ToToolstack),
    (
        "Observers",
        "Not in Xen: on the observers' socket, out of band. Arrays with tags of their own.",
        observation.Observe | observation.Observed,
    ),
    (
        "Parts of a snapshot",
        "Arrays without a tag.",
        observation.NodeSnapshot
        | observation.DomainSnapshot
        | observation.RefusedAllocations
        | observation.UnderwaySnapshot,
    ),
    ("Toolstack to launcher", "On the order socket; msgpack maps with a `type` key.", orders.FromToolstack),
)


def abi_page() -> str:
    """The page's text."""
    lines = [
        "# ABI reference",
        "",
        "Generated from `hypervisor/public` by `python -m launch.reference.abi`. Do not edit.",
        "",
        "Everything but the orders is a msgpack array: the tag, then the fields in the order shown.",
        "Fields at the end may be left out where a default is shown. Pages are 4 KiB. U16, U32, U64 and S32",
        "are integers of that range; Runs is an array of [first frame, number of extents].",
        "",
    ]
    for title, note, union in SECTIONS:
        lines += [f"## {title}", "", note, ""]
        structs: tuple[Any, ...] = get_args(union) or (union,)
        for struct in structs:
            lines += _struct(struct)
    lines += ["## Reply", "", *_struct(Reply), *_errors()]
    return "\n".join(lines).rstrip() + "\n"


def _struct(struct: type[msgspec.Struct]) -> list[str]:
    info = msgspec.structs.fields(struct)
    tag = struct.__struct_config__.tag
    shown = f" — tag {tag:#x}" if isinstance(tag, int) else f" — type `{tag}`" if tag else ""
    lines = [f"### {struct.__name__}{shown}", "", inspect.getdoc(struct) or "", ""]
    if not info:
        return lines
    comments = dict(_comments(struct))
    lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field in info:
        default = "" if field.default is msgspec.NODEFAULT else f"`{field.default!r}`"
        kind, meaning = comments.get(field.name, ("", ""))
        lines.append(f"| {field.name} | {_cell(kind)} | {default} | {_cell(meaning)} |")
    return [*lines, ""]


def _comments(struct: type[msgspec.Struct]) -> Iterator[tuple[str, tuple[str, str]]]:
    """(field, (type as written, comment or docstring under it)) from the source."""
    source = inspect.getsource(struct).splitlines()
    for number, line in enumerate(source):
        match = _FIELD.match(line)
        if match is None:
            continue
        name, kind, comment = match.groups()
        following = source[number + 1].strip() if number + 1 < len(source) else ""
        if comment is None and following.startswith('"""'):
            comment = following.strip('"')
        yield name, (kind, comment or "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _errors() -> list[str]:
    lines = ["## Errors of Xen", "", "A reply carries them negated. All of them are definite.", ""]
    lines += ["| errno | number | answered by | meaning |", "|---|---|---|---|"]
    for row in ERROR_TABLE:
        operations = ", ".join(row.operations)
        lines.append(f"| {row.errno.name} | {row.errno.value} | {operations} | {row.meaning} |")
    lines += ["", "## Errors of the wire", "", "In `Refused.error`; the message had no effect.", ""]
    return lines + [f"- `{error.value}`" for error in WireError]


def protocol_page(text: str) -> str:
    """The text of docs/protocol.md with its tables of messages made anew."""
    lines: list[str] = [""]
    for title, union in _MESSAGES:
        lines += [f"**{title}**", "", "| message | tag | fields |", "|---|---|---|"]
        lines += [_row(struct) for struct in get_args(union) if struct is not type(None)]
        lines.append("")
    return _TABLES.sub(lambda _: "\n".join(lines) + "\n", text)


def _row(struct: type[msgspec.Struct]) -> str:
    tag = struct.__struct_config__.tag
    fields = ", ".join(
        field.name if field.required else f"{field.name}?" for field in msgspec.structs.fields(struct)
    )
    return f"| {struct.__name__} | {tag!r} | {fields} |"


def main() -> None:
    """Write both pages below the current directory."""
    PAGE.write_text(abi_page(), encoding="utf-8")
    PROTOCOL.write_text(protocol_page(PROTOCOL.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
