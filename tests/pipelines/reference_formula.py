"""Formulas with the floats of Python itself: the oracle of :mod:`pipelines.operators.shape.formula`."""

from __future__ import annotations

import math
import operator
from math import isnan


def divided(a, b):
    if b:
        return a / b
    return math.nan if not a or isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)


def power(a, b):
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:  # a root of a negative number, or 0 to a negative power
        if a:
            return math.nan
        return math.copysign(math.inf, a) if b % 2 == 1 else math.inf


def logical(rule):
    return lambda a, b: math.nan if isnan(a) or isnan(b) else float(rule(a, b))


def least(*numbers):
    return math.nan if any(map(isnan, numbers)) else min(numbers)


def most(*numbers):
    return math.nan if any(map(isnan, numbers)) else max(numbers)


def limited(rule, otherwise=math.nan):
    """A function of ``math``, which raises where IEEE 754 has a NaN or an infinity."""

    def called(*numbers):
        try:
            return rule(*numbers)
        except ValueError:
            return otherwise(*numbers) if callable(otherwise) else otherwise
        except OverflowError:
            return math.inf

    return called


def whole(rule):
    return lambda a: (
        a if math.isinf(a) or isnan(a) else math.copysign(float(rule(a)), a) if not rule(a) else float(rule(a))
    )


PLAIN = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": divided, "^": power,
    "neg": operator.neg, "not": lambda a: math.nan if isnan(a) else float(not a),
    "and": logical(lambda a, b: a and b and 1), "or": logical(lambda a, b: bool(a or b)),
    "<": logical(operator.lt), "<=": logical(operator.le), ">": logical(operator.gt), ">=": logical(operator.ge),
    "==": logical(operator.eq), "!=": logical(operator.ne),
    "sqrt": limited(math.sqrt), "abs": abs, "min": least, "max": most,
    "exp": limited(math.exp), "log": limited(math.log, lambda a: math.nan if a else -math.inf),
    "log10": limited(math.log10, lambda a: math.nan if a else -math.inf),
    "sin": limited(math.sin), "cos": limited(math.cos), "tan": limited(math.tan), "atan2": math.atan2,
    "floor": whole(math.floor), "ceil": whole(math.ceil), "round": whole(round),
    "clip": lambda v, low, high: least(most(v, low), high),
    "if": lambda c, a, b: math.nan if isnan(c) else a if c else b,
}  # fmt: skip


def valued(tree, inputs):
    """A formula's tree with the floats of Python itself."""
    if isinstance(tree, int):
        return inputs[tree]
    if isinstance(tree, float):
        return tree
    return PLAIN[tree[0]](*[valued(one, inputs) for one in tree[1:]])
