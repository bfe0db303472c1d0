"""Foreign toolstacks that keep the protocol but for one fault. usage: bad_toolstack.py FAULT ACCESS_FILE"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import msgpack
import zmq
from foreign_toolstack import CREATE, DESTROY, DOMID_ANY, MAX_MEM, Hypervisor, launch

CLAIM, LIST_DOMAINS = 0x0C18, 0x2306


def answer(fault: str, hypervisor: Hypervisor, order: dict[str, Any]) -> list[dict[str, Any]]:
    """The outcomes of a launch order, with the fault in them."""
    said: dict[str, Any] = {"type": "outcome", "order": order["order"]}
    match fault:
        case "hangs":
            return []
        case "crashes":
            sys.exit(7)
        case "always-built":
            return [said | {"stage": "built", "commit": 1, "domid": 77, "incarnation": 1}]
        case "leaks-claims":
            domid = hypervisor.call(CREATE, DOMID_ANY, 3, 1)[3][1]
            hypervisor.call(MAX_MEM, domid, 4 * order["max_pages"])
            ret, _, commit, _ = hypervisor.call(CLAIM, domid, order["pages"] // 4)
            return [said | {"stage": "refused", "commit": commit, "reason": f"leaving {ret}"}]
        case "leaks-clamps" | "destroys-all":
            for _, domid, _, tot_pages, *_ in hypervisor.call(LIST_DOMAINS, 1, 1024)[3][1]:
                limit = (MAX_MEM, domid, 4 * tot_pages)
                hypervisor.call(*(limit if fault == "leaks-clamps" else (DESTROY, domid)))
            return [launch(hypervisor, order)]
        case "future-commit":
            return [launch(hypervisor, order) | {"commit": 10**9}]
        case "twice":
            return 2 * [launch(hypervisor, order)]
        case "malformed":
            hypervisor.socket.send(b"\xc1 no msgpack")
            hypervisor.socket.recv()
            return [launch(hypervisor, order)]
        case "wrong-secret":
            return [launch(hypervisor, order) | {"secret": b"guess"}]
    raise ValueError(fault)


def main() -> None:
    """Serve orders until dismissed."""
    fault = sys.argv[1]
    with open(sys.argv[2], encoding="utf-8") as file:
        access = json.load(file)
    context = zmq.Context()
    hypervisor = Hypervisor(context, access)
    orders = context.socket(zmq.DEALER)
    orders.connect(access["orders_endpoint"])
    secret = bytes.fromhex(access["orders_secret"])
    if fault == "never-enlists":
        time.sleep(60)
    orders.send(msgpack.packb({"type": "enlist", "name": fault, "secret": secret}))
    while (order := msgpack.unpackb(orders.recv()))["type"] != "dismiss":
        if order["type"] == "launch":
            for outcome in answer(fault, hypervisor, order):
                orders.send(msgpack.packb(outcome))
        else:
            hypervisor.call(0x2402, order["domid"])
            orders.send(msgpack.packb({"type": "outcome", "order": order["order"], "stage": "destroyed"}))
    orders.send(msgpack.packb({"type": "farewell"}))
    context.destroy(linger=1000)


if __name__ == "__main__":
    main()
