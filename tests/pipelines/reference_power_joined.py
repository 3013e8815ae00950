"""Plain operators over several points of a device."""

from __future__ import annotations

import cmath
import math
from math import isfinite, isnan

from pipelines.operators.power.quantities import power_of, watts
from tests.pipelines.reference import QUESTIONABLE
from tests.pipelines.reference_power_base import (
    INACCURATE,
    NO_VALID,
    Joined,
    divided,
    joined,
    sealed,
    told,
    usable,
    worse,
)


class PowerFactor(Joined):
    def __init__(self, config, points):
        super().__init__(config, points, [*config.active, *config.reactive])
        self.phases = len(config.active)

    def factor(self, group, text):
        for part in group.split("/"):
            text = text.replace("*", part, 1)
        return watts(self.points.point(self.points.find(text)).unit) or 1.0

    def results(self, group, rows):
        if not rows:
            return []
        factors = [self.factor(group, text) for text in self.inputs]
        out, ieee = [], self.config.sign == "ieee"
        for t, row in rows:
            values = [v * factor for (v, _), factor in zip(row, factors, strict=True)]
            p, q = sum(values[: self.phases]), sum(values[self.phases :])
            apparent = math.hypot(p, q)
            factor = quadrant = math.nan
            if apparent >= self.config.min_apparent and apparent > 0:
                factor = p / apparent
                if ieee:
                    factor = -abs(factor) if p * q > 0 else abs(factor)
                quadrant = (1 if q >= 0 else 4) if p >= 0 else (2 if q >= 0 else 3)
            out.append(told(self.name(group), t, row, factor))
            out.append(told(self.name(group, "#quadrant"), t, row, float(quadrant)))
        return out


class Unbalance(Joined):
    def __init__(self, config, points):
        super().__init__(config, points, [*config.of, *(config.angles or ())])

    def results(self, group, rows):
        out, nema = [], self.config.definition == "nema"
        for t, row in rows:
            a, b, c, *angles = (v for v, _ in row)
            mean = (a + b + c) / 3
            part = math.nan
            if mean >= self.config.min and mean > 0 and all(isfinite(v) for v, _ in row):
                part = self.nema(a, b, c, mean) if nema else self.sequence(a, b, c, angles)
            out.append(told(self.name(group, "#nema" if nema else "#v2v1"), t, row, 100 * part))
        return out

    @staticmethod
    def nema(a, b, c, mean):
        return max(abs(a - mean), abs(b - mean), abs(c - mean)) / mean

    @staticmethod
    def sequence(a, b, c, angles):
        if angles:
            one, two, three = (cmath.rect(v, math.radians(x)) for v, x in zip((a, b, c), angles, strict=True))
            turn = cmath.exp(2j * math.pi / 3)
            return divided(abs(one + turn * turn * two + turn * three), abs(one + turn * two + turn * turn * three))
        squares = a * a + b * b + c * c
        inner = 3 - 6 * (a**4 + b**4 + c**4) / squares**2
        if (a + b - c) * (a + c - b) * (b + c - a) < 0 or not isfinite(inner):
            return math.nan
        root = math.sqrt(max(inner, 0.0))
        return math.sqrt(max(1 - root, 0.0) / (1 + root))


class Outage(Joined):
    def __init__(self, config, points):
        super().__init__(config, points, config.of)
        self.forget()

    def forget(self):
        self.state, self.seen, self.began = {}, {}, {}

    def results(self, group, rows):
        out, dead = [], self.config.threshold * self.config.nominal
        for t, row in rows:
            self.seen[group] = [t, None]
            good = [abs(v) < dead for v, word in row if usable(v, word)]
            if good and len(good) < len(row):
                continue
            state = 3 if not good else 2 if all(good) else 1 if any(good) else 0
            word = 0 if state == 3 else joined(*(word for _, word in row))
            out += self.tell(group, t, state, word)
        return out

    def tell(self, group, t, state, word):
        if self.state.get(group) == state:
            return []
        self.state[group] = state
        out = [sealed(self.name(group), t, float(state), word)]
        began = self.began.get(group)
        if state < 2 and began is not None:
            name = self.name(group, "#outage_duration")
            out.append(sealed(name, t, (t - began[0]) * 1e-9, joined(word, began[1])))
            del self.began[group]
        elif state == 2 and began is None:
            self.began[group] = (t, word)
        elif state == 3 and began is not None:
            self.began[group] = (began[0], worse(began[1], QUESTIONABLE, INACCURATE))
        return out

    def passed(self, now):
        out = []
        for group, seen in self.seen.items():
            if seen[1] is None:
                seen[1] = now
            if now - seen[1] >= self.config.silence.ns and self.state.get(group) != 3:
                out += self.tell(group, seen[0] + self.config.silence.ns, 3, 0)
        return out


class StateOfCharge(Joined):
    def __init__(self, config, points):
        super().__init__(config, points, config.inputs)
        self.battery = {}
        self.tail = 0.05 * config.capacity if config.full_current is None else config.full_current

    def results(self, group, rows):
        out, c = [], self.config
        for t, row in rows:
            (current, word), voltage = row[0], row[1] if len(row) > 1 else None
            if not usable(current, word):
                continue
            current = -current if c.invert else current
            initial = math.nan if c.initial is None else c.initial
            soc, doubt, since, held = self.battery.get(group, (initial, True, None, 0.0))
            if since is not None and t - since > c.max_gap.ns:
                doubt = True
            elif since is not None:
                soc += held * (c.efficiency if held > 0 else 1.0) * ((t - since) * 1e-9) * (100 / (c.capacity * 3600))
            soc = soc if isnan(soc) else min(max(soc, c.min), c.max)
            known = self.known(current, voltage)
            soc, doubt = (soc, doubt) if known is None else (known, False)
            self.battery[group] = (soc, doubt, t, current)
            shown = NO_VALID if isnan(soc) else soc
            out.append(
                sealed(self.name(group), t, shown, worse(joined(word), QUESTIONABLE, INACCURATE) if doubt else word)
            )
        return out

    def known(self, current, voltage):
        c = self.config
        if voltage is None or not usable(*voltage):
            return None
        if c.full_voltage is not None and voltage[0] >= c.full_voltage and 0 <= current <= self.tail:
            return c.max
        return c.min if c.empty_voltage is not None and voltage[0] <= c.empty_voltage else None

    def forget(self):
        self.battery = {group: (soc, True, None, current) for group, (soc, _, _, current) in self.battery.items()}


class TransformerLoad(Joined):
    def __init__(self, config, points):
        super().__init__(config, points, config.inputs)
        self.state = {}

    def forget(self):
        for state in self.state.values():
            state["time"] = None

    def results(self, group, rows):
        out, c, powers = [], self.config, len(self.config.powers)
        for t, row in rows:
            values = [v for v, _ in row[:powers]]
            if isinstance(c.rated, str):
                values = [v * self.factor(group, text) for v, text in zip(values, self.inputs, strict=False)]
            rated = power_of(c.rated) if isinstance(c.rated, str) else c.rated
            load = (abs(values[0]) if powers == 1 else math.hypot(*values)) / rated
            ok = all(usable(v, word) for v, word in row[:powers])
            word = joined(*(word for _, word in row[:powers]))
            out.append(sealed(self.name(group), t, 100 * load if ok else NO_VALID, word))
            if c.ambient is not None and isfinite(load) and load < 100 and all(usable(*one) for one in row):
                out += self.heat(group, t, load, row)
        return out

    def factor(self, group, text):
        for part in group.split("/"):
            text = text.replace("*", part, 1)
        unit = watts(self.points.point(self.points.find(text)).unit)
        return math.nan if unit is None else unit

    def ends(self, load, ambient):
        m = self.config.cooling
        oil = ((1 + m.ratio * load**2) / (1 + m.ratio)) ** m.x
        gradient = m.hot_spot_k * load**m.y
        return [ambient + m.top_oil_k * oil, m.k21 * gradient, (m.k21 - 1) * gradient]

    def heat(self, group, t, load, row):
        c, m = self.config, self.config.cooling
        ambient = min(max(row[-1][0] if c.ambient_c is None else c.ambient_c, -100.0), 200.0)
        state = self.state.get(group)
        settling = round(3 * m.oil_s * 1e9)
        if state is None:
            state = self.state[group] = {"heat": self.ends(load, ambient), "used": 0.0, "time": None, "sure": 0}
        seconds = 0.0
        if state["time"] is None:
            state["sure"] = max(state["sure"], t + settling)
        else:
            gap = t - state["time"]
            seconds = gap * 1e-9
            if gap > 900 * 10**9:
                state["sure"] = max(state["sure"], t + min(gap, settling))
            taus = (m.k11 * m.oil_s, m.k22 * m.winding_s, m.oil_s / m.k22)
            ends = self.ends(state["load"], state["ambient"])
            state["heat"] = [now + (end - now) * -math.expm1(-seconds / tau)
                             for now, end, tau in zip(state["heat"], ends, taus, strict=True)]  # fmt: skip
        state.update(time=t, load=load, ambient=ambient)
        top, h1, h2 = state["heat"]
        hot = top + h1 - h2
        rate = math.exp(15000 / 383 - 15000 / (hot + 273)) if c.upgraded else 2 ** ((hot - 98) / 6)
        state["used"] += rate * seconds / 3600
        word = joined(*(word for _, word in row))
        word = worse(word, QUESTIONABLE, INACCURATE) if t < state["sure"] else word
        told = (("#top_oil", top), ("#hot_spot", hot), ("#ageing", rate), ("#life_used", state["used"]))
        return [sealed(self.name(group, suffix), t, value, word) for suffix, value in told]
