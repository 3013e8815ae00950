"""Another gateway as a device: its frames over MQTT or NATS, with receipts end to end."""
