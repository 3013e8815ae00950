"""onpath: an edge gateway that computes on the data while it passes."""

__version__ = "0.1.0"
