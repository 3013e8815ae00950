"""The operator contract, the pipeline runner and the operators."""
