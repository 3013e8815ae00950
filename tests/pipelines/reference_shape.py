"""The operators that shape a stream, sample by sample in plain Python: oracle of the property tests, reference of the
benchmark. As tests/pipelines/reference.py, but where points get other names a sample begins with the name:
(name, time, value, quality).
"""

from __future__ import annotations

import re
from math import isnan

from gateway.point import compile_glob
from gateway.quality import Reason, no_value
from tests.pipelines.reference import NOT_A_NUMBER
from tests.pipelines.reference_join import Expression, Join, bad, pattern_of

NOT_FOUND = no_value(Reason.NOT_FOUND)
FACTORS = {
    ("V", "mV"): (1000, 1), ("V", "kV"): (1, 1000), ("W", "kW"): (1, 1000), ("kW.h", "J"): (3_600_000, 1),
    ("kW.h", "W.h"): (1000, 1), ("MW", "kW"): (1000, 1),
}  # fmt: skip


class Enum:
    """Texts in place of numbers: a value is the text, or a NaN."""

    def __init__(self, config, points):
        self.points, self.config = points, config
        self.dropped = 0

    def process(self, samples):
        config, out = self.config, []
        for p, t, v, q in samples:
            name = self.points.name(p) + config.suffix
            if isnan(v):
                out.append((name, t, v, q))
            elif v in config.map:
                out.append((name, t, config.map[v], q))
            elif config.unknown == "text":
                out.append((name, t, config.text, q))
            elif config.unknown == "invalid":
                out.append((name, t, NOT_FOUND, bad(q)))
            else:
                self.dropped += 1
        return out


class Bits:
    def __init__(self, config, points):
        self.points, self.config = points, config
        pairs = {name: (at, at) if isinstance(at, int) else at for name, at in config.fields.items()}
        self.fields = [(name, first, (1 << (last - first + 1)) - 1) for name, (first, last) in pairs.items()]

    def process(self, samples):
        out = []
        for p, t, v, q in samples:
            name = self.points.name(p)
            if self.config.keep:
                out.append((name, t, v, q))
            whole = abs(v) <= 1 << 53 and v == int(v)
            for field, shift, mask in self.fields:
                if whole:
                    out.append((f"{name}#{field}", t, float(int(v) >> shift & mask), q))
                else:
                    out.append((f"{name}#{field}", t, v if isnan(v) else NOT_A_NUMBER, bad(q)))
        return out


class Convert:
    """Between the few units of the tests, by factors as a textbook has them."""

    def __init__(self, config, points):
        self.points, self.config = points, config
        self.units = [config.to] if isinstance(config.to, str) else config.to
        self.skipped = 0
        self.known = {}

    def found(self, p):
        point = self.points.point(p)
        for unit in self.units:
            factor = FACTORS.get((point.unit or self.config.assume, unit))
            if factor:
                return self.config.as_.format(name=point.name, unit=unit), *factor
        return point.name, 0, 0

    def process(self, samples):
        out = []
        for p, t, v, q in samples:
            if p not in self.known:
                self.known[p] = self.found(p)
            name, multiply, divide = self.known[p]
            if not multiply:
                self.skipped += 1
            out.append((name, t, v if isnan(v) or not multiply else v * multiply / divide, q))
        return out


class Rename:
    def __init__(self, config, points):
        self.points = points
        self.rules = [(pattern_of(glob), text) for glob, text in config.names.items()]
        self.rules += [(re.compile(f"(?:{text}){chr(92)}Z"), name) for text, name in config.regex.items()]
        self.names, self.owner = {}, {}
        self.collided = self.dropped = 0

    def wanted(self, point):
        for pattern, text in self.rules:
            found = pattern.match(point.name)
            if found:
                device, _, rest = point.name.partition("/")
                words = {"name": point.name, "device": device, "point": rest}
                words |= {f"_{number}": part for number, part in enumerate(found.groups(), 1)}
                return re.sub(r"\{([0-9])", r"{_\1", text).format_map(words)
        return point.name

    def settle(self, p):
        point = self.points.point(p)
        wanted = self.wanted(point)
        if self.owner.setdefault(wanted, p) == p:
            return wanted, False
        return (point.name if self.owner.setdefault(point.name, p) == p else None), True

    def process(self, samples):
        out = []
        for p, t, v, q in samples:
            if p not in self.names:
                self.names[p] = self.settle(p)
            name, collided = self.names[p]
            self.collided += collided
            if name is None:
                self.dropped += 1
            else:
                out.append((name, t, v, q))
        return out


class Split(Rename):
    def __init__(self, config, points):
        super().__init__(type("Rules", (), {"names": {}, "regex": {}}), points)
        self.config = config

    def wanted(self, point):
        value = point.labels.get(self.config.by)
        if not value:
            return point.name
        return self.config.as_.format(label=re.sub("[^A-Za-z0-9_.-]+", "_", value), name=point.name)

    def process(self, samples):
        by, drop = self.config.by, self.config.missing == "drop"
        return super().process([s for s in samples if not drop or self.points.point(s[0]).labels.get(by)])


class Label:
    """Samples pass; what becomes of labels has tests of its own."""

    def __init__(self, config, points):
        self.seen = set()

    def process(self, samples):
        for p, *_ in samples:
            if p not in self.seen:
                self.seen.add(p)
        return samples


class Select:
    def __init__(self, config, points):
        self.points = points

        def globs(given):
            return [compile_glob(g) for g in ([given] if isinstance(given, str) else given or [])]

        self.keep, self.drop = globs(config.keep), globs(config.drop)
        self.labels = {label: globs(given) for label, given in config.labels.items()}
        self.known = {}

    def passes(self, p):
        point = self.points.point(p)
        if self.keep and not any(g.match(point.name) for g in self.keep):
            return False
        if any(g.match(point.name) for g in self.drop):
            return False
        own = point.labels
        return all(key in own and any(g.match(own[key]) for g in globs) for key, globs in self.labels.items())

    def process(self, samples):
        out = []
        for sample in samples:
            p = sample[0]
            if p not in self.known:
                self.known[p] = self.passes(p)
            if self.known[p]:
                out.append(sample)
        return out


OPERATORS = {
    "enum": Enum,
    "bits": Bits,
    "convert": Convert,
    "rename": Rename,
    "label": Label,
    "select": Select,
    "split": Split,
    "expression": Expression,
    "join": Join,
}
BENCH = [
    ("scale", {"table": [[0.0, 0.0], [200.0, 190.0], [240.0, 235.0], [300.0, 310.0]]}),
    ("scale", {"polynomial": [0.2, 1.01, -0.0003]}),
    ("enum", {"map": {229: "low", 230: "good", 231: "high"}, "unknown": "text"}),
    ("bits", {"fields": {"a": 0, "b": 3, "mode": [4, 6]}}),
    ("convert", {"to": "kV"}),
    ("rename", {"names": {"*/voltage": "site/{1}/u"}}),
    ("label", {"set": {"device": "{device}"}}),
    ("select", {"keep": ["m1*/**", "m2*/**"]}),
    ("split", {"by": "area"}),
    ("expression", {"set": "*/squared", "to": "sqrt(*/voltage^2 + 1) * 2 - max(*/voltage, 230)"}),
    ("join", {"inputs": ["*/voltage"], "every": "1s", "how": "last"}),
]
