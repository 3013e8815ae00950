"""The hub's configuration as nats-server reads it. Pure: values in, text out. Strings are quoted as in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from gateway.network.carrier.nats_streams import BLOBS, bucket_stream, stream_name
from gateway.network.carrier.subjects import PREFIX
from gateway.network.hub.config import ALWAYS, ClusterConfig, HubConfig, HubUser, Role, address
from gateway.units import Duration

LOG_BYTES: Final = 16 * 2**20
ROUTE_USER: Final = "hub"
_INBOX: Final = "_INBOX.>"
_NODE: Final = (
    f"{PREFIX}.>", "$KV.*.>", "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.>",
    "$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.PURGE.>", "$JS.API.STREAM.MSG.GET.>", "$JS.API.CONSUMER.>",
    "$JS.ACK.>",
)  # fmt: skip
_READ_STREAMS: Final = (stream_name("out"), bucket_stream("directories"), bucket_stream("services"), BLOBS)


def reading() -> list[str]:
    """What a reader sends: requests that read some streams and change none."""
    asked = ["$JS.API.INFO", "$JS.API.STREAM.NAMES"]
    for stream in _READ_STREAMS:
        asked += [
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.STREAM.MSG.GET.{stream}",
            f"$JS.API.CONSUMER.*.{stream}.>",
            f"$JS.API.CONSUMER.*.*.{stream}.>",
            f"$JS.ACK.{stream}.>",
        ]
    return asked


def server_text(hub: HubConfig, state: Path, log: Path) -> str:
    """The server's configuration; port 0 asks the system for a free one (its -1)."""
    host, port = address("listen", hub.listen)
    sync = hub.sync_interval if hub.sync_interval == ALWAYS else f"{Duration.parse(hub.sync_interval):g}s"
    store = f"store_dir: {_quoted(str(state / 'streams'))}"
    lines = [
        f"server_name: {_quoted(hub.name)}",
        f"host: {_quoted(host)}",
        f"port: {port or -1}",
        'http: "127.0.0.1:-1"',  # for onpath hub status
        f"max_payload: {int(hub.max_payload)}",
        f"log_file: {_quoted(str(log))}",
        f"logfile_size_limit: {LOG_BYTES}",
        "logfile_max_num: 2",
        f"jetstream {{ {store}, max_file_store: {int(hub.max_store)}, sync_interval: {_quoted(sync)} }}",
    ]
    if hub.cert:
        trust = f", ca_file: {_quoted(hub.client_ca)}, verify: true" if hub.client_ca else ""
        lines.append(f"tls {{ cert_file: {_quoted(hub.cert)}, key_file: {_quoted(hub.key)}{trust} }}")
    if hub.users:
        users = "\n".join(_user(name, user) for name, user in hub.users.items())
        lines.append(f"authorization {{ users: [\n{users}\n] }}")
    if hub.cluster is not None:
        lines.append(_cluster(hub.cluster))
    return "\n".join(lines) + "\n"


def _user(name: str, user: HubUser) -> str:
    login = f"user: {_quoted(name)}, password: {_quoted(user.password)}"
    if user.role is Role.ALL:
        return f"  {{ {login} }}"
    publish, subscribe = (_NODE, (f"{PREFIX}.>", _INBOX)) if user.role is Role.NODE else (reading(), (_INBOX,))
    return f"  {{ {login}, permissions: {{ publish: {_allowed(publish)}, subscribe: {_allowed(subscribe)} }} }}"


def _allowed(subjects: Iterable[str]) -> str:
    return f"{{ allow: [{', '.join(map(_quoted, subjects))}] }}"


def _cluster(cluster: ClusterConfig) -> str:
    host, port = address("listen", cluster.listen)
    routes = ", ".join(_quoted(_route(route, cluster.password)) for route in cluster.routes)
    lines = [f"  name: {_quoted(cluster.name)}", f"  host: {_quoted(host)}", f"  port: {port or -1}"]
    if cluster.password:
        lines.append(f"  authorization {{ user: {ROUTE_USER}, password: {_quoted(cluster.password)} }}")
    if cluster.cert:
        files = (cluster.cert, cluster.key, cluster.ca)
        cert, key, ca = map(_quoted, files)
        lines.append(f"  tls {{ cert_file: {cert}, key_file: {key}, ca_file: {ca}, verify: true }}")
    return "cluster {\n" + "\n".join([*lines, f"  routes: [{routes}]"]) + "\n}"


def _route(route: str, password: str) -> str:
    """A route with the login that hubs share, which is written as in a URL."""
    parts = urlsplit(route)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    login = f"{ROUTE_USER}:{quote(password, safe='')}@" if password else ""
    return f"nats://{login}{host}:{parts.port}"


def _quoted(text: str) -> str:
    return json.dumps(text)
