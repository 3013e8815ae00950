"""Operators that let fewer samples through, most of them within a stated error."""
