"""What ``onpath modbus`` does, without the printing."""
