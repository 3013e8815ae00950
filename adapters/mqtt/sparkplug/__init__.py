"""Sparkplug B (Eclipse Sparkplug 3.0) as a host application: edge nodes, births, deaths and the order of messages."""
