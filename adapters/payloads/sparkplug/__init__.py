"""Sparkplug B payloads: the wire schema and a codec over it."""
