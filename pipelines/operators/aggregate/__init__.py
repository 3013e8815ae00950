"""Windows, their statistics, and the merging of partial results."""
