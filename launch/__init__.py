"""The composition root: scenarios, clusters, the judge and the command line."""
