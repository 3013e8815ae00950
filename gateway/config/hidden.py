"""What the configuration makes of itself: the pipelines behind alerts and the heartbeat.

They run beside the user's own, so that what they tell is journaled, spooled and told once like any sample; people are
shown them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.alerts.config import AlertConfig, Severity
from gateway.budget.summaries import summaries
from gateway.config.model import PipelineConfig, StepBase, step_struct
from gateway.own.config import PULSE, HeartbeatConfig
from gateway.point import ALERT
from pipelines.operators.aggregate.window import WindowConfig
from pipelines.operators.judge.alert import AlertStepConfig
from pipelines.operators.reduce.throttle import ThrottleConfig
from pipelines.operators.reduce.valve import ValveConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.model import GatewayConfig
    from pipelines.base import OperatorConfig

HEARTBEAT: Final = "heartbeat"
_LEVELS: Final = {Severity.INFO: 1, Severity.WARNING: 2, Severity.CRITICAL: 3}
_STEP = step_struct(
    {"alert": AlertStepConfig, "throttle": ThrottleConfig, "valve": ValveConfig, "window": WindowConfig}
)


def hidden(config: GatewayConfig) -> dict[str, PipelineConfig]:
    """The pipelines that nobody wrote."""
    found = {ALERT + rule: _alert(rule, alert) for rule, alert in config.alerts.items()}
    if config.heartbeat is not None:
        found[HEARTBEAT] = _heartbeat(config.heartbeat)
    return found | {summary: pipeline for summary, (_, pipeline) in _summaries(config).items()}


def effective(config: GatewayConfig) -> dict[str, PipelineConfig]:
    """All pipelines that run: the user's, of which some feed alerts and summaries as well, and the hidden ones."""
    feeds: dict[str, list[str]] = {}
    for rule, alert in config.alerts.items():
        for source in dict.fromkeys(alert.of):
            feeds.setdefault(source, []).append(ALERT + rule)
    for summary, (of, _) in _summaries(config).items():
        for source in (name for name, pipeline in config.pipelines.items() if of in pipeline.targets):
            feeds.setdefault(source, []).append(summary)
    return _feeding(config.pipelines, feeds) | hidden(config)


def _summaries(config: GatewayConfig) -> dict[str, tuple[str, PipelineConfig]]:
    """The pipelines of summaries by name, and whose summary each is; see :mod:`gateway.budget.summaries`."""
    adapts = {name: uplink.adapt for name, uplink in config.uplinks.items() if uplink.adapt is not None}
    return {
        summary: (of, PipelineConfig(from_=config.pipelines[of].from_, steps=steps, to=to))
        for of, summary, steps, to in summaries(config.pipelines, adapts, _one)
    }


def is_hidden(pipeline: str, config: GatewayConfig) -> bool:
    """Whether nobody wrote a pipeline of this name."""
    hidden_by_name = pipeline.startswith(ALERT) or pipeline in _summaries(config)
    return hidden_by_name or (pipeline == HEARTBEAT and config.heartbeat is not None)


def _feeding(pipelines: Mapping[str, PipelineConfig], feeds: Mapping[str, list[str]]) -> dict[str, PipelineConfig]:
    return {
        name: msgspec.structs.replace(pipeline, to=[*pipeline.targets, *feeds[name]]) if name in feeds else pipeline
        for name, pipeline in pipelines.items()
    }


def _alert(rule: str, alert: AlertConfig) -> PipelineConfig:
    globs = alert.globs
    step = AlertStepConfig(
        rule=rule,
        watch=globs if alert.of else (),
        above=alert.above,
        below=alert.below,
        equals=alert.equals,
        differs=alert.differs,
        invalid=alert.invalid,
        suspect=alert.suspect,
        absent=alert.absent,
        hysteresis=alert.hysteresis,
        for_=alert.for_,
        clear_after=alert.clear_after,
        max_per_hour=alert.max_per_hour,
        level=_LEVELS[alert.severity],
        text=alert.template,
    )
    return PipelineConfig(from_=[] if alert.of else list(globs), steps=[_one("alert", step)], to=list(alert.to))


def _heartbeat(heartbeat: HeartbeatConfig) -> PipelineConfig:
    # what another pipeline wants more often does not make the heart beat faster
    throttle = ThrottleConfig(interval=type(heartbeat.every)(0.9 * heartbeat.every), flush=False)
    return PipelineConfig(from_=[*PULSE, *heartbeat.also], steps=[_one("throttle", throttle)], to=list(heartbeat.to))


def _one(name: str, operator: OperatorConfig) -> StepBase:
    fields = dict(zip(_STEP.__struct_encode_fields__, _STEP.__struct_fields__, strict=True))
    return _STEP(**{fields[name]: operator})
