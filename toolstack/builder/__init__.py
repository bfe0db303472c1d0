"""The domain builder: what libxl and libxc ask the hypervisor for, call by call."""
