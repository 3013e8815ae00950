"""CoAP: observing and polling devices, and being pushed to by them."""
