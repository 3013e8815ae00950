"""What a node sends to its parent, and takes from its children."""
