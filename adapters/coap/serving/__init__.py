"""The server: devices push, others read and observe what the gateway offers."""
