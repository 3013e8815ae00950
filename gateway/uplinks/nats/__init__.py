"""The uplink to NATS JetStream."""
