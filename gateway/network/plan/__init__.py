"""Which step of each service runs where: pure functions over arrays; who feeds and writes it is the controller."""
