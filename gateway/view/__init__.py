"""What is shown of a running gateway, as plain JSON types: for the console, the command line and metrics alike."""
