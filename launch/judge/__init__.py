"""Who was right? An oracle that reads the journal, which knows the true state at every instant."""
