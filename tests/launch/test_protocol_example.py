"""The worked example of docs/protocol.md is what the codec says."""

import re
from pathlib import Path

import msgpack

from hypervisor.public.domctl import Physinfo
from hypervisor.public.protocol import TO_HYPERVISOR, Call, encode

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


def test_the_bytes_of_the_example() -> None:
    """The documented bytes are the Call, to our codec and to an independent one."""
    found = re.search(r"^    (95 02 [0-9a-f ]+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    frame = bytes.fromhex(found.group(1))
    call = Call(0, 5, 1, (Physinfo(),))
    assert encode(call) == frame
    assert TO_HYPERVISOR.decode(frame) == call
    assert msgpack.unpackb(frame) == [2, 0, 5, 1, [[0x2303]]]
