"""Trying a configuration before it is deployed: samples from files through the pipelines, offline."""
