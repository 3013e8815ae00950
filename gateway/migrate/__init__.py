"""Configurations of other gateways turned into ours, with a list of what could not be carried over."""
