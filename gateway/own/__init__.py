"""The gateway as a device of itself: its metrics, as points and for Prometheus."""
