"""Payload codecs that several protocols share: pure functions of bytes, without I/O and without a clock."""
