"""One guest's kernel: balloon driver, page names, memory and swap, out-of-memory killer, target watch."""
