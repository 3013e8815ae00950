"""MQTT southbound: subscribes at a broker, turns telemetry into samples, acknowledges what is on disk."""
