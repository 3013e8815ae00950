"""The core: partitions of the network's work, each held by one worker at a time."""
