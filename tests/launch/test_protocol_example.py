"""The worked examples of docs/protocol.md are what the codec says."""

import re
from pathlib import Path

import msgpack

from hypervisor.public.domctl import Physinfo
from hypervisor.public.memory import ClaimPages
from hypervisor.public.orders import FROM_TOOLSTACK, Outcome, Stage
from hypervisor.public.protocol import FROM_HYPERVISOR, TO_HYPERVISOR, Answer, Call, encode
from hypervisor.public.requests import Reply

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
EXAMPLES = re.compile(r"^    ([0-9a-f]{2}(?: [0-9a-f]{2}){8,})$", re.MULTILINE)


def test_the_bytes_of_the_examples() -> None:
    """The documented bytes are the messages, to our codec and to an independent one."""
    found = EXAMPLES.findall(PAGE.read_text(encoding="utf-8"))
    look, claim, answer, outcome = map(bytes.fromhex, found)
    assert encode(Call(0, 5, 1, (Physinfo(),))) == look
    assert TO_HYPERVISOR.decode(look) == Call(0, 5, 1, (Physinfo(),))
    assert msgpack.unpackb(look) == [2, 0, 5, 1, [[0x2303]]]
    assert TO_HYPERVISOR.decode(claim) == Call(0, 5, 2, (ClaimPages(3, 16384),))
    assert FROM_HYPERVISOR.decode(answer) == Answer(0, 5, 2, (Reply(-12, 88, 88, None),))
    assert encode(Answer(0, 5, 2, (Reply(-12, 88, 88, None),))) == answer
    assert FROM_TOOLSTACK.decode(outcome) == Outcome(7, Stage.REFUSED, commit=88)
