"""A toolstack that shares no code with claimlab: plain pyzmq and msgpack, as docs/protocol.md tells.

It builds what fits by its own count and refuses the rest. usage: foreign_toolstack.py ACCESS_FILE
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgpack
import zmq

CREATE, DESTROY, UNPAUSE, MAX_MEM, PHYSINFO, POPULATE = 0x2401, 0x2402, 0x2404, 0x240B, 0x2303, 0x0C06
DOMID_ANY = 0x7FF5


class Hypervisor:
    """Calls, one at a time."""

    def __init__(self, context: zmq.Context[Any], access: dict[str, Any]) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.connect(access["endpoint"])
        self.socket.send(msgpack.packb([1, 1, 0, 99, bytes.fromhex(access["control_secret"]), "foreign"]))
        assert msgpack.unpackb(self.socket.recv())[0] == 1, "Welcome"
        self.seq = 0

    def call(self, *request: Any) -> list[Any]:
        """One request; its reply [ret, first, last, value]."""
        self.seq += 1
        self.socket.send(msgpack.packb([2, 0, 99, self.seq, [list(request)]]))
        while True:
            answer = msgpack.unpackb(self.socket.recv())
            if answer[0] == 2 and answer[3] == self.seq:
                return list(answer[4][0])


def launch(hypervisor: Hypervisor, order: dict[str, Any]) -> dict[str, Any]:
    """Look, build as an HVM guest with single pages, report."""
    said = {"type": "outcome", "order": order["order"]}
    ret, _, commit, host = hypervisor.call(PHYSINFO)
    assert ret == 0
    if host[2] < order["pages"] + 1024:
        return said | {"stage": "refused", "commit": commit, "reason": "too little is free"}
    domid, incarnation, secret = hypervisor.call(CREATE, DOMID_ANY, 3, 1)[3][1:4]
    hypervisor.call(MAX_MEM, domid, 4 * order["max_pages"])
    ret, _, commit, _ = hypervisor.call(POPULATE, domid, [[0, order["pages"] >> 9]], 9)
    if ret < order["pages"] >> 9:
        hypervisor.call(DESTROY, domid)
        return said | {"stage": "refused", "commit": commit, "reason": "fell short"}
    hypervisor.call(UNPAUSE, domid)
    built = {"domid": domid, "incarnation": incarnation, "secret": secret, "frames": [[0, order["pages"]]]}
    return said | built | {"stage": "built", "commit": commit, "pages_populated": order["pages"]}


def main() -> None:
    """Serve orders until dismissed."""
    with open(sys.argv[1], encoding="utf-8") as file:
        access = json.load(file)
    context = zmq.Context()
    hypervisor = Hypervisor(context, access)
    orders = context.socket(zmq.DEALER)
    orders.connect(access["orders_endpoint"])
    secret = bytes.fromhex(access["orders_secret"])
    orders.send(msgpack.packb({"type": "enlist", "name": "foreign", "secret": secret}))
    while (order := msgpack.unpackb(orders.recv()))["type"] != "dismiss":
        if order["type"] == "launch":
            orders.send(msgpack.packb(launch(hypervisor, order)))
        else:
            hypervisor.call(DESTROY, order["domid"])
            orders.send(msgpack.packb({"type": "outcome", "order": order["order"], "stage": "destroyed"}))
    orders.send(msgpack.packb({"type": "farewell"}))
    context.destroy(linger=1000)


if __name__ == "__main__":
    main()
