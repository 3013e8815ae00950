"""The demo: the main job on loopback, with real protocols and a judge that stands outside the gateway."""
