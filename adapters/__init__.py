"""Southbound protocol plug-ins, one folder a protocol."""
