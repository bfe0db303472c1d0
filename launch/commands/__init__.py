"""One file a command: options in, a call, exit code out."""
