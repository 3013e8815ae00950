"""The uplink to SCADA: the gateway as a Sparkplug B edge node."""
