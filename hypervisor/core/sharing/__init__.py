"""Page sharing with copy-on-write (section 4)."""
