"""A client of the observers' socket: one snapshot at a time, whenever somebody wants to look."""

from __future__ import annotations

import time
from typing import Final, Self

import msgspec

from hypervisor.public.observation import (
    OBSERVATION_VERSION,
    OBSERVED,
    ObservationRefused,
    Observe,
    Observed,
    Snapshot,
)
from hypervisor.transport import Client

PATIENCE_MS: Final = 5000
"""Real milliseconds; the hypervisor answers ten times a second, unless it is stopped or in a long step."""


class NotObservedError(Exception):
    """No snapshot: the hypervisor does not answer, or refuses the secret."""


class Observer:
    """One connection. Not to be shared by threads."""

    def __init__(self, endpoint: str, secret: bytes) -> None:
        """`secret`: see `hypervisor.session.speakers.observers_secret`. EndpointError for no address."""
        self._secret = secret
        self._nonce = 0
        self._client = Client()
        self._dealer = self._client.connect(endpoint)

    def snapshot(self, patience_ms: int = PATIENCE_MS) -> Snapshot:
        """The host as it is after this was called. NotObservedError when no answer comes in time."""
        self._nonce += 1
        self._dealer.send((msgspec.msgpack.encode(Observe(OBSERVATION_VERSION, self._secret, self._nonce)),))
        deadline = time.monotonic() + patience_ms / 1000
        while (left := deadline - time.monotonic()) > 0:
            if not self._client.wait(max(1, int(left * 1000))):
                continue
            for frame in self._dealer.receive():
                answer: Observed = OBSERVED.decode(frame)
                if isinstance(answer, ObservationRefused):
                    raise NotObservedError(f"{answer.error}: {answer.text}")
                if answer.nonce == self._nonce:  # an answer to an earlier question is old news
                    return answer
        raise NotObservedError(f"{self._dealer.endpoint} did not answer in {patience_ms} ms")

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
