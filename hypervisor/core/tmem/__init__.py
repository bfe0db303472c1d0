"""Transcendent memory: page-granular caches and swap kept by the hypervisor (section 3)."""
