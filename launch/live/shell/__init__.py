"""`claimlab shell`: the commands of xl on an emulated host."""
