"""A run in the trace-event format, for Perfetto and chrome://tracing."""
