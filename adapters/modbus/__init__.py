"""Modbus TCP and RTU: see README.md beside this file."""
