"""The reference consumer: takes batches from a broker, each once, and proves what is missing."""
