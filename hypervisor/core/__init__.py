"""The pure state machine that owns memory: no sockets, clocks, randomness or logging."""
