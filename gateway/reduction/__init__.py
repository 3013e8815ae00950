"""Reduction in the network: vectors of many workers are added on their way. docs/network/reduction.md says how."""
