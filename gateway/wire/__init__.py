"""Frames as bytes: the codec of the journal, the spool and the ``frame`` format."""
