"""The reference in docs/reference, made from the source: ``python -m tests.support.reference`` writes it anew.

Options come from the config structs (types, limits, defaults and the text below each field), examples from
configs/reference.yaml, verbs from the command line, words from the enumerations of the code.
"""
