"""The ABI: requests, replies, units and errors, as Xen's public headers declare them."""
