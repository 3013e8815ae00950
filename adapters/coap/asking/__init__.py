"""Devices that the gateway asks: polls, observations, discovery."""
