"""``transformer_load``: apparent power against the rating, and what it does to the insulation."""

from __future__ import annotations

import enum
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Kind
from pipelines.operators.aligned import worst_of
from pipelines.operators.power.joined import Joined, JoinedConfig, check_names
from pipelines.operators.power.ordered import Table
from pipelines.operators.power.quantities import power_of, watts
from pipelines.operators.power.results import marked, sealed, usable
from pipelines.operators.power.runs import firsts, walk
from pipelines.operators.power.thermal import COOLINGS, Cooling, Heat, ageing, heated, settled

if TYPE_CHECKING:
    from gateway.frame import Ids, Qualities, Times, Values
    from pipelines.base import Points, State
    from pipelines.operators.aligned import Rows


class Kinds(enum.StrEnum):
    """Kinds of transformers of which the constants are known."""

    DISTRIBUTION = "distribution"
    ONAN = "onan"
    ONAF = "onaf"


class TransformerLoadConfig(JoinedConfig, frozen=True, kw_only=True):
    """The load of each transformer in percent of its rating: ``m1/load``.

    From ``apparent`` power, or from active ``p`` and reactive ``q``: sqrt(P^2 + Q^2).

    With an ``ambient`` temperature (a point, or a number in degrees Celsius) also ``m1/load#top_oil`` and
    ``m1/load#hot_spot`` in Cel, ``m1/load#ageing``, the relative rate at which the insulation ages (1 at a hot spot of
    98 degrees, or of 110 for ``upgraded`` paper), and ``m1/load#life_used``, the hours of normal life that were used
    up since the gateway began to count. The model is that of IEC 60076-7 (see
    :mod:`pipelines.operators.power.thermal`): simplified in that it goes by the apparent power instead of the winding
    current, and knows one stage of cooling. It begins as if the first load had lasted for ever, so that for about
    three of the oil's time constants (9 h) temperatures and ageing are questionable. Over a gap of more than 15 min
    the load is not known: the temperatures go on from the last load, and are questionable for as long again.

    ``rated`` with a unit needs inputs with a unit of power (W, kW, V.A, var ...); others give no result and are
    counted as ``no-power-unit``.

    Example::

        steps:
          - transformer_load: {p: "*/power", q: "*/reactive", rated: 630kVA}
          - transformer_load: {apparent: "t1/s", rated: 250kVA, set: t1/load, ambient: t1/ambient}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"p": "*/power", "q": "*/voltage", "rated": 400.0},
        {"apparent": "*/power", "rated": "1kVA", "ambient": "20", "set": "{device}/load", "lateness": "0s"},
        {
            "apparent": "*/power", "rated": 300.0, "ambient": "*/voltage", "kind": "onaf", "upgraded": True,
            "top_oil_rise": 60.0, "hot_spot_rise": 20.0, "loss_ratio": 8.0, "keep": False,
        },
    )  # fmt: skip

    rated: float | str
    """The rating, such as ``630kVA``; a number is in the unit of the inputs."""
    apparent: str | None = None
    """The apparent power; ``*`` stands for the device."""
    p: str | None = None
    """The active power, instead of ``apparent``."""
    q: str | None = None
    """The reactive power, beside ``p``."""
    ambient: str | None = None
    """The ambient temperature: a point (in Cel), or a number in degrees Celsius; left out: no thermal model."""
    kind: Kinds = Kinds.DISTRIBUTION
    """``distribution`` (ONAN), or a power transformer: ``onan``, ``onaf``."""
    top_oil_rise: float | None = None
    """Rise of the top oil at the rating in K; left out: 55 for distribution, else 52."""
    hot_spot_rise: float | None = None
    """Hot spot over top oil at the rating in K; left out: 23 for distribution, else 26."""
    loss_ratio: float | None = None
    """Losses under the rated load by losses without load; left out: 5 for distribution, else 6."""
    upgraded: bool = False
    """The paper is thermally upgraded."""
    set: str = "{device}/load"
    """The name of the result; ``{device}`` is what ``*`` stands for."""

    def __post_init__(self) -> None:
        if isinstance(self.rated, str):
            try:
                power_of(self.rated)
            except ValueError as error:
                raise FieldError("rated", str(error)) from None
        elif not 0 < self.rated < math.inf:
            raise FieldError("rated", "must be greater than 0")
        if (self.apparent is None) == (self.p is None) or (self.p is None) != (self.q is None):
            raise FieldError("apparent", "give either apparent, or both p and q")
        for name in ("top_oil_rise", "hot_spot_rise", "loss_ratio"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise FieldError(name, "must be greater than 0")
        check_names(self.set, self.inputs, "apparent" if self.p is None else "p")

    @property
    def powers(self) -> list[str]:
        """The patterns of the powers."""
        return [name for name in (self.apparent, self.p, self.q) if name is not None]

    @property
    def ambient_c(self) -> float | None:
        """The ambient temperature if it is a number."""
        try:
            return None if self.ambient is None else float(self.ambient)
        except ValueError:
            return None

    @property
    def inputs(self) -> list[str]:
        """The patterns of all inputs."""
        point = self.ambient if self.ambient_c is None else None
        return self.powers if point is None else [*self.powers, point]

    @property
    def cooling(self) -> Cooling:
        """The constants of the transformer."""
        base = COOLINGS[self.kind.value]
        given = {"top_oil_k": self.top_oil_rise, "hot_spot_k": self.hot_spot_rise, "ratio": self.loss_ratio}
        return replace(base, **{name: value for name, value in given.items() if value is not None})

    def create(self, points: Points) -> TransformerLoad:
        """The operator for these options."""
        return TransformerLoad(self, points)


GAP_NS: Final = 900_000_000_000
_CELSIUS: Final[dict[str, Any]] = {"unit": "Cel"}


class TransformerLoad(Joined):
    """See :class:`TransformerLoadConfig`."""

    def __init__(self, config: TransformerLoadConfig, points: Points) -> None:
        super().__init__(config, points, config.inputs, config.set)
        self._config = config
        self._powers = len(config.powers)
        self._cooling = config.cooling
        self._settling_ns = round(3 * config.cooling.oil_s * 1e9)
        self._state = Table(
            top=(np.float64, 0), h1=(np.float64, 0), h2=(np.float64, 0), used=(np.float64, 0), time=(np.int64, 0),
            load=(np.float64, 0), ambient=(np.float64, 0), sure=(np.int64, 0), timed=(np.bool_, 0), warm=(np.bool_, 0),
        )  # fmt: skip
        """Behind the last row of a group. ``warm``: temperatures are known; ``timed``: since ``time``; ``sure``: when
        they cease to be questionable."""

    def _results(self, rows: Rows) -> Frame:
        power, unit = rows.value[:, : self._powers], 1.0
        if isinstance(self._config.rated, str):
            unit, factor = power_of(self._config.rated), self.factors(rows.group, watts)[:, : self._powers]
            strange = int(np.count_nonzero(np.isnan(factor).any(axis=1)))
            if strange:
                self.counts.reasons["no-power-unit"] += strange
            power = power * factor
        else:
            unit = self._config.rated
        load = np.abs(power[:, 0]) if self._powers == 1 else np.hypot(power[:, 0], power[:, 1])
        load /= unit
        good = usable(rows.value, rows.quality)[:, : self._powers].all(axis=1)
        word = worst_of(rows.quality[:, : self._powers])
        ids = self.ids(rows.group, "", unit="%")
        percent = np.where(good, 100 * load, q.no_value(q.Reason.NO_VALID_SAMPLES))
        found = sealed(ids, rows.time, percent, word)
        return found if self._config.ambient is None else concat([found, self._heat(rows, load)])

    def _heat(self, rows: Rows, load: Values) -> Frame:
        """The thermal results of the rows that have all inputs."""
        ok = usable(rows.value, rows.quality).all(axis=1) & np.isfinite(load) & (load < 100)
        if not ok.any():
            return EMPTY
        group, time, load = rows.group[ok], rows.time[ok], load[ok]
        fixed = self._config.ambient_c
        ambient = rows.value[ok, self._powers] if fixed is None else np.full(len(group), fixed)
        ambient = np.clip(ambient, -100.0, 200.0)
        self._state.grow(int(group.max()) + 1)
        word = self._words(group, time, worst_of(rows.quality[ok]))
        seconds, heat, end = self._since(group, time, load, ambient)
        found = heated(self._cooling, group, seconds, end, heat)
        rate = ageing(found.hot_spot, upgraded=self._config.upgraded)
        used = self._used(group, rate * seconds / 3600)
        _, last = firsts(group)
        yes = np.ones(len(last), np.bool_)
        self._state.set(
            group[last], top=found.top[last], h1=found.h1[last], h2=found.h2[last], used=used[last], time=time[last],
            load=load[last], ambient=ambient[last], timed=yes, warm=yes,
        )  # fmt: skip
        results = (
            ("#top_oil", found.top, _CELSIUS), ("#hot_spot", found.hot_spot, _CELSIUS),
            ("#ageing", rate, {"unit": "1"}), ("#life_used", used, {"unit": "h", "kind": Kind.COUNTER}),
        )  # fmt: skip
        return concat([sealed(self.ids(group, suffix, **facts), time, value, word) for suffix, value, facts in results])

    def _words(self, group: Ids, time: Times, word: Qualities) -> Qualities:
        """Quality of the results: questionable until the beginning is forgotten, and behind gaps."""
        starts, last = firsts(group)
        since = np.append(time[:1], time[:-1])
        own = group[starts]
        since[starts] = np.where(self._state["timed"][own], self._state["time"][own], time[starts])
        fresh = np.zeros(len(group), np.bool_)
        fresh[starts] = ~self._state["timed"][own]
        gap = time - since
        again = np.where(fresh, time + self._settling_ns, np.iinfo(np.int64).min)
        again = np.where(gap > GAP_NS, time + np.minimum(gap, self._settling_ns), again)
        sure = np.empty(len(group), np.int64)
        now = None
        for at in walk(group):
            now = self._state["sure"][group[at]] if now is None else now[: len(at)]
            now = np.maximum(now, again[at])
            sure[at] = now
        self._state.set(group[last], sure=sure[last])
        return marked(word, time < sure)

    def _since(self, group: Ids, time: Times, load: Values, ambient: Values) -> tuple[Values, Heat, Heat]:
        """Seconds since the row before, the temperatures at the first rows, and where they tended to since then."""
        starts, _ = firsts(group)
        own = group[starts]
        begun = self._state["timed"][own]
        seconds = np.append(0.0, np.diff(time) * 1e-9)
        seconds[starts] = np.where(begun, (time[starts] - self._state["time"][own]) * 1e-9, 0.0)
        before, outside = np.append(load[:1], load[:-1]), np.append(ambient[:1], ambient[:-1])
        before[starts] = np.where(begun, self._state["load"][own], load[starts])
        outside[starts] = np.where(begun, self._state["ambient"][own], ambient[starts])
        start = settled(self._cooling, load, ambient)
        for name, column in (("top", start.top), ("h1", start.h1), ("h2", start.h2)):
            column[starts] = np.where(self._state["warm"][own], self._state[name][own], column[starts])
        return seconds, start, settled(self._cooling, before, outside)

    def _used(self, group: Ids, hours: Values) -> Values:
        """Hours of life used up behind each row."""
        used, now = np.empty(len(group)), None
        for at in walk(group):
            now = self._state["used"][group[at]] if now is None else now[: len(at)]
            now = now + hours[at]
            used[at] = now
        return used

    def _forget(self) -> None:
        """Temperatures and used life stay; the time since the last row is not known."""
        self._state["timed"][:] = False

    def snapshot(self) -> State:
        """What waits, and the temperatures."""
        return {**super().snapshot(), "state": self._state.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._state.restore(state["state"])
