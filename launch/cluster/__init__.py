"""A scenario as real processes: one hypervisor, its guests, its toolstacks, and who sends the orders."""
