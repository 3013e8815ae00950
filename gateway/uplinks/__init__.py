"""Northbound destinations: one module each, their formats beside them."""
