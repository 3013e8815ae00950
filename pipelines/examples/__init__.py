"""Files that the examples of ``python`` and ``infer`` name: a class to copy, and a model of one layer."""
