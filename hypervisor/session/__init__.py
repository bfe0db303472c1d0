"""Both halves of the exchange over the wire, without I/O: bytes in, bytes out."""
