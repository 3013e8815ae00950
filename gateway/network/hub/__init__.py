"""``onpath hub``: a NATS server with JetStream for a network of gateways, run and supervised by us."""
