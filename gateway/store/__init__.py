"""What is on disk: directory, input journal, checkpoints and spool, in one SQLite file."""
