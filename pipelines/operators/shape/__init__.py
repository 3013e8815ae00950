"""Operators that give samples another shape: units, names, formulas, selections."""
