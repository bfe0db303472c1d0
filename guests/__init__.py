"""Guest kernels as coroutines: balloon driver, behaviours, workloads and trace readers."""
