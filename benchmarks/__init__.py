"""What claimlab costs, every figure against an anchor measured in the same run: `python -m benchmarks`."""
