"""What carries the network: streams, key-value, blobs. One contract, in a file of this machine or in NATS JetStream."""
