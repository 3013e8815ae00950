"""``[[inputs.mqtt_consumer]]`` of Telegraf.

Source: the plugin's README and the READMEs of the parsers ``json``, ``json_v2`` and ``value``.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.migrate.draft import Draft, Table, fit, free, seconds, span

_SCHEMES: Final = {"tcp": "mqtt", "ssl": "mqtts", "tls": "mqtts", "mqtt": "mqtt", "mqtts": "mqtts", "ws": "ws",
                   "wss": "wss"}  # fmt: skip
_FILES: Final = {"tls_ca": "ca", "tls_cert": "cert", "tls_key": "key"}


def mqtt_consumer(plugin: Table, draft: Draft) -> list[str]:
    """Add the adapter of one plugin; globs of its points."""
    servers = plugin.take("servers") or []
    name = free(fit(plugin.text("alias") or plugin.text("name_override"), "mqtt"), draft.adapters)
    if not servers:
        draft.left(plugin.where, "names no server")
        return []
    if len(servers) > 1:
        draft.left(f"{plugin.where}.servers", f"only the first is used: {servers[0]}")
    taken = [_subscription(str(topic), plugin, draft) for topic in plugin.take("topics") or []]
    subscriptions = [entry for entry in taken if entry is not None]
    adapter = {"type": "mqtt", "url": broker_url(str(servers[0]), plugin), **login(plugin, draft)}
    if not plugin.take("persistent_session", False):
        adapter["session"] = {"clean": True}
    if "connection_timeout" in plugin:
        adapter["timeout"] = span(seconds(plugin.take("connection_timeout"), 10.0))
    plugin.ignore("qos", "max_undelivered_messages", "topic_tag", "data_format", "data_type", "interval")
    plugin.leave_rest(draft)
    if not subscriptions:
        return []
    draft.adapters[name] = adapter | {"subscribe": subscriptions}
    return list(dict.fromkeys(f"{entry.get('device', '*')}/**" for entry in subscriptions))


def broker_url(server: str, plugin: Table) -> str:
    """A server of Telegraf as URL."""
    scheme, _, rest = server.rpartition("://")
    secure = any(plugin.take(key) for key in _FILES)
    kind = _SCHEMES.get(scheme, "mqtt")
    return f"{'mqtts' if secure and kind == 'mqtt' else kind}://{rest}"


def login(plugin: Table, draft: Draft) -> dict[str, Any]:
    """Name, password and certificates. A password in plain text is left to a credential."""
    found = {ours: plugin.text(theirs) for theirs, ours in _FILES.items() if plugin.text(theirs)}
    for key in ("client_id", "username"):
        if plugin.text(key):
            found[key] = plugin.text(key)
    if plugin.text("password"):
        found["password"] = draft.secret(f"{plugin.where}.password", plugin.text("password"), "MQTT_PASSWORD")
    if plugin.take("insecure_skip_verify"):
        draft.left(f"{plugin.where}.insecure_skip_verify", "certificates are always checked; give the broker's ca")
    return found


def _subscription(topic: str, plugin: Table, draft: Draft) -> dict[str, Any] | None:
    shared, topic = _share(topic)
    levels = topic.split("/")
    wild = [number for number, level in enumerate(levels) if level == "+"]
    entry: dict[str, Any] = dict(shared)
    if wild:  # the last wildcard tells devices apart; those before it stay
        levels[wild[-1]] = "{device}"
        draft.changed(f"{plugin.where}.topics", f"{topic!r}: the level of its last + names the device")
    else:
        named = [level for level in levels if level != "#"]
        entry["device"] = fit(named[-1] if named else "", "mqtt")
    entry["topic"] = "/".join(levels)
    entry["qos"] = min(int(plugin.number("qos")), 1)
    if plugin.number("qos") >= 2:
        draft.changed(f"{plugin.where}.qos", "QoS 2 is QoS 1 here, which loses nothing either")
    return _payload(entry, plugin, draft)


def _share(topic: str) -> tuple[dict[str, str], str]:
    parts = topic.split("/", 2)
    if parts[0] == "$share" and len(parts) == 3:
        return {"share": parts[1]}, parts[2]
    return {}, topic


def _payload(entry: dict[str, Any], plugin: Table, draft: Draft) -> dict[str, Any] | None:
    kind = plugin.text("data_format", "influx")
    match kind:
        case "json":
            return entry | {"payload": "json"} | _json(plugin, draft)
        case "json_v2":
            draft.changed(plugin.where, "json_v2: every number of a payload is a point; write points: to choose")
            plugin.ignore("json_v2")
            return entry | {"payload": "json"}
        case "value":
            return entry | {"payload": "text", "points": {"value": {}}}
        case "msgpack":
            return entry | {"payload": "msgpack"}
        case "csv" if plugin.take("csv_column_names"):
            return entry | {"payload": "csv"} | _csv(plugin)
        case _:
            draft.left(f"{plugin.where}.data_format", f"payloads in {kind} cannot be read")
            return None


def _csv(plugin: Table) -> dict[str, Any]:
    plugin.ignore("csv_header_row_count")
    time = plugin.text("csv_timestamp_column")
    columns = {"columns": [str(column) for column in plugin.take("csv_column_names")]}
    return columns | ({"time": time} if time else {})


def _json(plugin: Table, draft: Draft) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if plugin.text("json_time_key"):
        found["time"] = plugin.text("json_time_key")
        form = plugin.text("json_time_format")
        if form and not form.startswith("unix") and form not in {"2006-01-02T15:04:05Z07:00", "RFC3339"}:
            draft.left(f"{plugin.where}.json_time_format", f"{form!r}: only Unix time and RFC 3339 are understood")
    if plugin.text("json_query"):
        found["records"] = f"$.{plugin.text('json_query')}[*]"
        draft.changed(f"{plugin.where}.json_query", "is an array of records; remove [*] if it is one object")
    texts = [str(key) for key in plugin.take("json_string_fields") or []]
    if texts:
        draft.changed(f"{plugin.where}.json_string_fields", "texts become states by themselves: " + ", ".join(texts))
    if plugin.take("tag_keys"):
        draft.left(f"{plugin.where}.tag_keys", "use device_from: for the key that names the device")
    plugin.ignore("json_time_format", "json_timezone")
    return found
