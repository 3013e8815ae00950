"""Operators of the power grid: energy, demand, quality of supply. Each file begins with its options and its rule."""
