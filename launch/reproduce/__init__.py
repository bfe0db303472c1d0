"""From the real world to the virtual: a recorded race as a small world, replayed and made small."""
