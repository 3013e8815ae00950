"""What no single struct can know: whether names refer to something, and whether data can flow.

Runs over the finished configuration, with the tree beside it to say where things stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from adapters.mqtt.config import EMBEDDED
from gateway.budget.summaries import SUMMARY
from gateway.config.convert import MAX_SUGGESTIONS, locate
from gateway.config.hidden import HEARTBEAT, hidden
from gateway.config.leaves import suggestion
from gateway.config.model import GatewayConfig, PipelineConfig
from gateway.config.nodes import Mapping, Mark, Path, path_text
from gateway.errors import Problem
from gateway.point import ALERT, OWN, compile_glob
from gateway.uplinks.options import BudgetSpent

TAKEN = {"onpath": "the gateway's own metrics", "alert": "points of alerts"}
"""First segments of names of points that are no devices'."""
LEAST_BANDWIDTH = 100
"""Bytes a second: below it a single batch would take hours."""


def check(config: GatewayConfig, root: Mapping) -> tuple[list[Problem], list[Problem]]:
    """Problems and warnings."""
    checker = _Checker(config, root)
    checker.names()
    checker.devices()
    for name, pipeline in config.pipelines.items():
        checker.pipeline(name, pipeline)
    checker.cycles()
    checker.own()
    checker.unfed_uplinks()
    checker.queues()
    checker.broker()
    checker.globs()
    return checker.problems, checker.warnings


class _Checker:
    def __init__(self, config: GatewayConfig, root: Mapping) -> None:
        self.config = config
        self.root = root
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.known = config.uplinks.keys() | config.pipelines.keys()
        self.hidden = hidden(config)
        everything = [*config.pipelines.values(), *self.hidden.values()]
        self.fed = Counter(target for p in everything for target in p.targets)

    def names(self) -> None:
        """``to`` names uplinks and pipelines alike, so no name may be both; nor may it be one that is made here."""
        for section in ("pipelines", "uplinks"):
            for name in getattr(self.config, section):
                if name.startswith(ALERT) or name in self.hidden:
                    path: Path = (section, name)
                    what = "a summary" if name.startswith(SUMMARY) else "alerts"
                    message = f"the name is taken by {'the heartbeat' if name == HEARTBEAT else what}"
                    self.problems.append(self._key(path).problem(path_text(path), message))
        for name in self.config.pipelines.keys() & self.config.uplinks.keys():
            here, other = self._key(("pipelines", name)), self._key(("uplinks", name))
            message = f"a pipeline and an uplink have one name; also defined at {other}"
            self.problems.append(here.problem(path_text(("pipelines", name)), message))

    def devices(self) -> None:
        """Points are named by device, so a device belongs to one adapter."""
        first: dict[str, Path] = {}
        for adapter, options in self.config.adapters.items():
            for device in dict.fromkeys(options.devices_named()):
                path: Path = ("adapters", adapter, "devices", device)
                if device in TAKEN:
                    message = f"the name is taken: {TAKEN[device]} are named {device}/..."
                    self.problems.append(self._key(path).problem(path_text(path), message))
                elif device in first:
                    message = f"two adapters have a device of this name; also defined at {self._key(first[device])}"
                    self.problems.append(self._key(path).problem(path_text(path), message))
                else:
                    first[device] = path

    def pipeline(self, name: str, pipeline: PipelineConfig) -> None:
        """Something goes in, and what comes out goes somewhere."""
        path: Path = ("pipelines", name)
        if not pipeline.globs and not self.fed[name]:
            message = 'nothing goes in: give "from", or name it in the "to" of another pipeline'
            self.problems.append(self._key(path).problem(path_text(path), message))
        if not pipeline.targets and not any(name in alert.of for alert in self.config.alerts.values()):
            message = 'what comes out goes nowhere: "to" is empty'
            self.warnings.append(self._key(path).problem(path_text(path), message))
        seen: set[str] = set()
        for at, target in enumerate(pipeline.targets):
            where = self._item(path, "to", at)
            if target not in self.known:
                near = self._suggest(target, self.known - {name})
                self._report(where, f'no uplink or pipeline is named "{target}"{near}')
            elif target in seen:
                self._report(where, f'"{target}" is named twice, and would get everything twice')
            seen.add(target)

    def own(self) -> None:
        """What alerts and the heartbeat name."""
        for name, alert in self.config.alerts.items():
            path: Path = ("alerts", name)
            self._named((*path, "to"), alert.to, self.config.uplinks.keys(), "uplink")
            self._named((*path, "of"), alert.of, self.config.pipelines.keys(), "pipeline")
        if self.config.heartbeat is not None:
            self._named(("heartbeat", "to"), self.config.heartbeat.to, self.config.uplinks.keys(), "uplink")

    def _named(self, path: Path, names: Sequence[str], known: AbstractSet[str], what: str) -> None:
        for at, name in enumerate(names):
            if name not in known:
                self._at((*path, at), f'no {what} is named "{name}"{self._suggest(name, known)}')
            elif name in names[:at]:
                self._at((*path, at), f'"{name}" is named twice, and would get everything twice')

    def _suggest(self, word: str, known: AbstractSet[str]) -> str:
        return suggestion(word, sorted(known)) if len(self.problems) < MAX_SUGGESTIONS else ""

    def cycles(self) -> None:
        """No pipeline feeds itself, however long the way."""
        done: set[str] = set()
        for name in self.config.pipelines:
            self._follow(name, done)

    def _follow(self, start: str, done: set[str]) -> None:
        """Depth first from ``start`` without recursion; a chain of pipelines may be long."""
        trail: dict[str, None] = {}
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, depth = stack.pop()
            while len(trail) > depth:
                done.add(trail.popitem()[0])
            if name in done:
                continue
            trail[name] = None
            targets = self.config.pipelines[name].targets
            for target in dict.fromkeys(targets):
                if target in trail:
                    at = targets.index(target)
                    ring = [*trail][[*trail].index(target) :]
                    where = self._item(("pipelines", name), "to", at)
                    words = " -> ".join((*ring, target))
                    self._report(where, f"pipelines feed each other in a ring: {words}")
                elif target in self.config.pipelines:
                    stack.append((target, depth + 1))
        done.update(trail)

    def unfed_uplinks(self) -> None:
        """An uplink that gets nothing is probably a slip."""
        for name in self.config.uplinks:
            if not self.fed[name]:
                path: Path = ("uplinks", name)
                message = "no pipeline feeds this uplink"
                self.warnings.append(self._key(path).problem(path_text(path), message))

    def queues(self) -> None:
        """The options that all uplinks have in common, and the pipelines that they name."""
        for name, options in self.config.uplinks.items():
            path: Path = ("uplinks", name)
            everything = self.config.pipelines | self.hidden
            feeding = {one for one, pipeline in everything.items() if name in pipeline.targets}
            named: list[tuple[Path, str]] = [
                ((*path, "spool", "pipelines", one), one) for one in options.spool.pipelines
            ]
            named += [((*path, "priority", at), one) for at, one in enumerate(options.priority)]
            for where, one in named:
                if one not in feeding:
                    mark = locate(self.root, where) or self.root.mark
                    message = f'no pipeline named "{one}" sends to this uplink{self._suggest(one, feeding)}'
                    self.warnings.append(mark.problem(path_text(where), message))
            self._adapt(name)
            if len(set(options.priority)) < len(options.priority):
                self._at((*path, "priority"), "a pipeline is named twice")
            if options.bandwidth is not None and options.bandwidth < LEAST_BANDWIDTH:
                self._at((*path, "bandwidth"), f"must be at least {LEAST_BANDWIDTH}B/s")
            spent = options.budget and options.budget.when_spent
            if spent is BudgetSpent.PRIORITY and not options.priority:
                self._at((*path, "budget", "when_spent"), "then name in priority what goes on")

    def _adapt(self, uplink: str) -> None:
        """The pipelines and steps that ``adapt`` names."""
        adapt = self.config.uplinks[uplink].adapt
        path: Path = ("uplinks", uplink, "adapt")
        for at, name in enumerate(adapt.protect if adapt else ()):
            if name not in self.config.pipelines:
                near = self._suggest(name, self.config.pipelines.keys())
                self._at((*path, "protect", at), f'no pipeline is named "{name}"{near}')
        for key in adapt.steps if adapt else ():
            name, _, word = key.partition("/")
            pipeline = self.config.pipelines.get(name)
            kinds = [] if pipeline is None else [step.operator[0] for step in pipeline.steps]
            if pipeline is None:
                near = self._suggest(name, self.config.pipelines.keys())
                self._at((*path, "steps", key), f'no pipeline is named "{name}"{near}')
            elif word and word not in kinds and not (word.isdecimal() and int(word) < len(kinds)):
                self._at((*path, "steps", key), f'"{name}" has no step "{word}"{self._suggest(word, set(kinds))}')

    def _at(self, path: Path, message: str) -> None:
        self._report((locate(self.root, path) or self.root.mark, path), message)

    def broker(self) -> None:
        """``url: embedded`` means a broker that is there."""
        if self.config.broker is not None:
            return
        for section in ("adapters", "uplinks"):
            for name, options in getattr(self.config, section).items():
                if getattr(options, "url", None) == EMBEDDED:
                    path: Path = (section, name, "url")
                    message = 'there is no embedded broker; write "broker: embedded" at the top of the file'
                    self._report((locate(self.root, path) or self.root.mark, path), message)

    def globs(self) -> None:
        """A glob that no device can match is probably a slip, unless devices appear while running."""
        adapters = self.config.adapters.values()
        if any(options.devices_appear() for options in adapters):
            return
        devices = {device for options in adapters for device in options.devices_named()}
        for name, pipeline in self.config.pipelines.items():
            for at, glob in enumerate(pipeline.globs):
                if not may_match(glob, devices):
                    self._warn_glob(glob, devices, *self._item(("pipelines", name), "from", at))
        for name, alert in self.config.alerts.items():
            for at, glob in enumerate(() if alert.of else alert.globs):
                if not may_match(glob, devices):
                    path: Path = ("alerts", name, "points")
                    path = path if isinstance(alert.points, str) else (*path, at)
                    self._warn_glob(glob, devices, locate(self.root, path) or self.root.mark, path)

    def _warn_glob(self, glob: str, devices: AbstractSet[str], mark: Mark, path: Path) -> None:
        message = f'"{glob}" matches no point of any device{_glob_hint(glob, devices)}'
        self.warnings.append(mark.problem(path_text(path), message))

    def _report(self, where: tuple[Mark, Path], message: str) -> None:
        mark, path = where
        self.problems.append(mark.problem(path_text(path), message))

    def _item(self, path: Path, key: str, at: int) -> tuple[Mark, Path]:
        """Where one entry of a list stands that may also be written as a single value."""
        single = isinstance(getattr(self.config.pipelines[str(path[1])], _FIELDS[key]), str)
        full: Path = (*path, key) if single else (*path, key, at)
        return locate(self.root, full) or self.root.mark, full

    def _key(self, path: Path) -> Mark:
        """The mark of the key at ``path``, or of the nearest one above it."""
        node, mark = self.root, self.root.mark
        for part in path:
            entry = node.entries.get(str(part))
            if entry is None:
                break
            mark = entry.key
            if not isinstance(entry.value, Mapping):
                break
            node = entry.value
        return mark


_FIELDS = {"from": "from_", "to": "to"}


def may_match(glob: str, devices: AbstractSet[str]) -> bool:
    """Whether a glob can match ``device/point`` of one of the devices, whatever its points are called."""
    first, slash, _ = glob.partition("/")
    if "**" in first or glob.startswith(OWN):
        return True
    if not slash:
        return False
    return first in devices or any(map(compile_glob(first).match, devices))


def _glob_hint(glob: str, devices: AbstractSet[str]) -> str:
    if "/" not in glob and may_match(f"{glob}/**", devices):
        return f'; did you mean "{glob}/**"?'
    return suggestion(glob.partition("/")[0], sorted(devices))
