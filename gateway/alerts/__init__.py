"""Rules on points and on the gateway's own metrics, and what follows from them."""
