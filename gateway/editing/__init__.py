"""Editing the configuration of a running gateway: look, check, compare, apply, go back."""
