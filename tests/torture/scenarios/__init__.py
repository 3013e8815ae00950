"""What happens to a site, by the part it happens to."""
