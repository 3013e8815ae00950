"""Scenes of a network of gateways: real daemons, a controller and services, over simulated devices, on one machine."""
