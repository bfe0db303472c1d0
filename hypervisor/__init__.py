"""The hypervisor: public ABI, pure memory accounting, the wire and the process that serves it."""
