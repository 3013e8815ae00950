"""The control of the link budget: an uplink keeps to what its link carries by trading error for bytes."""
