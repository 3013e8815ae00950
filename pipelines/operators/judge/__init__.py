"""Operators that judge: they set quality and reasons, and drop nothing unless told to."""
