"""Outputs of Telegraf that have a counterpart among the uplinks.

Source: the READMEs below plugins/outputs (influxdata/telegraf).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.migrate.draft import Draft, Table, fit, free
from gateway.migrate.telegraf_mqtt import broker_url, login

Uplink = dict[str, Any]


def _mqtt(plugin: Table, draft: Draft) -> Uplink | None:
    servers = plugin.take("servers") or []
    if not servers:
        return None
    topic = plugin.text("topic") or plugin.text("topic_prefix")
    if "{{" in topic or not topic:
        draft.changed(f"{plugin.where}.topic", "the topic is onpath/{gateway}/{pipeline}")
        topic = "onpath/{gateway}/{pipeline}"
    plugin.ignore("qos", "retain", "batch", "keep_alive", "timeout", "layout", "topic_prefix", "client_id")
    return {"type": "mqtt", "url": broker_url(str(servers[0]), plugin), "topic": topic} | login(plugin, draft)


def _file(plugin: Table, draft: Draft) -> Uplink | None:
    files = [str(file) for file in plugin.take("files") or [] if file != "stdout"]
    if len(files) > 1:
        draft.left(f"{plugin.where}.files", f"only the first is used: {files[0]}")
    plugin.ignore("rotation_interval", "rotation_max_size", "rotation_max_archives", "use_batch_format")
    return {"type": "file", "path": files[0]} if files else {"type": "stdout"}


def _influx1(plugin: Table, draft: Draft) -> Uplink | None:
    urls, database = plugin.take("urls") or [], plugin.text("database", "telegraf")
    auth: dict[str, Any] = {}
    if plugin.text("username"):
        password = draft.secret(f"{plugin.where}.password", plugin.text("password"), "INFLUX_PASSWORD")
        auth = {"auth": {"basic": f"{plugin.text('username')}:{password}"}}
    plugin.ignore("password")
    if not urls:
        return None
    return {"type": "http", "url": f"{str(urls[0]).rstrip('/')}/write?db={database}", "format": "influx"} | auth


def _influx2(plugin: Table, draft: Draft) -> Uplink | None:
    urls = plugin.take("urls") or []
    if not urls:
        return None
    where = f"/api/v2/write?org={plugin.text('organization')}&bucket={plugin.text('bucket')}"
    header: dict[str, Any] = {}
    if plugin.text("token"):
        token = draft.secret(f"{plugin.where}.token", plugin.text("token"), "INFLUX_TOKEN")
        header = {"headers": {"Authorization": f"Token {token}"}}
    return {"type": "http", "url": str(urls[0]).rstrip("/") + where, "format": "influx"} | header


def _kafka(plugin: Table, _draft: Draft) -> Uplink | None:
    servers, topic = plugin.take("brokers") or [], plugin.text("topic", "onpath.{gateway}.{pipeline}")
    plugin.ignore("routing_tag", "version", "client_id", "required_acks", "max_retry")
    return {"type": "kafka", "servers": [str(one) for one in servers], "topic": topic} if servers else None


def _http(plugin: Table, draft: Draft) -> Uplink | None:
    url = plugin.text("url")
    if plugin.text("username") or plugin.text("password"):
        draft.left(f"{plugin.where}.username", "write auth: {basic: name:password} with a credential")
        plugin.ignore("username", "password")
    plugin.ignore("timeout", "use_batch_format")
    method = plugin.text("method", "POST")
    return {"type": "http", "url": url, "method": method} if url else None


OUTPUTS: Final[dict[str, Callable[[Table, Draft], Uplink | None]]] = {
    "mqtt": _mqtt, "file": _file, "influxdb": _influx1, "influxdb_v2": _influx2, "kafka": _kafka, "http": _http,
}  # fmt: skip


def output(kind: str, plugin: Table, draft: Draft) -> None:
    """Add the uplink that does what an output did, if there is one."""
    make = OUTPUTS.get(kind)
    uplink = make(plugin, draft) if make else None
    if uplink is None:
        draft.left(plugin.where, "has no counterpart" if make is None else "says not where to")
        return
    form = plugin.text("data_format")
    if form and uplink.get("format") != "influx":
        draft.changed(f"{plugin.where}.data_format", f"{form}: batches are written in our own JSON, docs/formats.md")
    plugin.ignore("alias", "tls_ca", "tls_cert", "tls_key", "metric_batch_size", "metric_buffer_limit")
    plugin.ignore("flush_interval", "flush_jitter", "json_timestamp_units")
    plugin.leave_rest(draft)
    draft.uplinks[free(fit(plugin.text("alias"), kind), draft.uplinks)] = uplink
