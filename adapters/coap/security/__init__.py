"""DTLS with pre-shared keys, and OSCORE."""
