"""An edge node that says what a test wants, and a host that listens to it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from adapters.mqtt.sparkplug.columns import Columns
from adapters.mqtt.sparkplug.host import Host
from adapters.mqtt.sparkplug.options import SparkplugOptions
from adapters.mqtt.sparkplug.where import parse_topic
from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from adapters.payloads.sparkplug.model import DataType
from gateway import quality as q
from gateway.directory import Directory
from gateway.errors import PayloadError

MS = 1_767_225_600_000
"""The edge node's clock begins here; each message is a millisecond later."""
S = 1_000_000_000
NS = 1_000_000
ARRIVAL = (MS + 500_000) * NS
"""The host's clock, which is not the edge node's."""


def metric(name=None, value=None, datatype=DataType.DOUBLE, *, field=None, properties=None, **fields):
    """A metric; the field that holds the value follows from the type."""
    made = pb.Payload.Metric() if hasattr(pb.Payload, "Metric") else pb.Metric()
    if name is not None:
        made.name = name
    if datatype is not None:
        made.datatype = datatype
    for key, each in fields.items():
        setattr(made, key, each)
    if value is not None:
        where = field or FIELDS.get(datatype, "bytes_value")
        if where in {"template_value", "dataset_value"}:
            getattr(made, where).CopyFrom(value)
        else:
            setattr(made, where, value)
    for key, each in (properties or {}).items():
        made.properties.keys.append(key)
        put = made.properties.values.add()
        if isinstance(each, str):
            put.type, put.string_value = DataType.STRING, each
        elif isinstance(each, float):
            put.type, put.double_value = DataType.DOUBLE, each
        else:
            put.type, put.int_value = DataType.INT32, each
    return made


FIELDS = {
    DataType.INT8: "int_value",
    DataType.INT16: "int_value",
    DataType.INT32: "int_value",
    DataType.INT64: "long_value",
    DataType.UINT8: "int_value",
    DataType.UINT16: "int_value",
    DataType.UINT32: "int_value",
    DataType.UINT64: "long_value",
    DataType.DATETIME: "long_value",
    DataType.FLOAT: "float_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
    DataType.STRING: "string_value",
    DataType.TEXT: "string_value",
    DataType.TEMPLATE: "template_value",
    DataType.DATASET: "dataset_value",
}


class Edge:
    """An edge node: gives (topic, payload) with the next sequence number and time."""

    def __init__(self, group="G", edge="E", bdseq=0):
        self.group, self.edge, self.bdseq = group, edge, bdseq
        self.seq = 0
        self.ms = MS

    def topic(self, verb, device=""):
        return f"spBv1.0/{self.group}/{verb}/{self.edge}" + (f"/{device}" if device else "")

    def message(self, verb, *metrics, device="", seq=None, **fields):
        self.ms += 1
        made = pb.Payload(**{"timestamp": self.ms, **fields})
        made.metrics.extend(metrics)
        if verb not in {"NDEATH", "NCMD", "DCMD"}:
            made.seq = self.seq if seq is None else seq
            self.seq = (made.seq + 1) % 256
        return self.topic(verb, device), made.SerializeToString()

    def nbirth(self, *metrics):
        self.seq = 0
        own = metric("bdSeq", self.bdseq, DataType.INT64)
        return self.message("NBIRTH", own, metric("Node Control/Rebirth", False, DataType.BOOLEAN), *metrics)

    def ndeath(self, bdseq=None):
        return self.message("NDEATH", metric("bdSeq", self.bdseq if bdseq is None else bdseq, DataType.INT64))

    def ndata(self, *metrics):
        return self.message("NDATA", *metrics)

    def dbirth(self, device, *metrics):
        return self.message("DBIRTH", *metrics, device=device)

    def ddata(self, device, *metrics):
        return self.message("DDATA", *metrics, device=device)

    def ddeath(self, device):
        return self.message("DDEATH", device=device)


class Listener:
    """A host with a real directory; records what the gateway would be told."""

    name = "scada"

    def __init__(self, limit=10_000, **options):
        self.points = Directory(limit)
        self.reasons = Counter()
        self.host = Host(SparkplugOptions(**options), self.points, self.reasons)
        self.host.teller = self
        self.links = []
        self.findings = []
        self.now = ARRIVAL

    def link(self, device, *, up, detail=""):
        self.links.append((device, up, detail))

    def found(self, finding):
        self.findings.append(finding)

    def expect(self, device, period_s):
        assert period_s == float("inf")
        assert device

    def take(self, *messages, kept=False):
        """(point, time, value, quality) of each sample; values that are none by their reason."""
        columns = Columns()
        for topic, payload in messages:
            self.now += 1_000
            try:
                self.host.take(parse_topic(topic), payload, self.now, columns, kept=kept)
            except PayloadError as error:
                self.reasons[error.reason] += 1
        return self.rows(columns)

    def wait(self, seconds):
        """Time passes; the samples that come of it."""
        columns = Columns()
        self.now += int(seconds * S)
        self.host.tick(self.now, columns)
        return self.rows(columns)

    def sent(self):
        """What goes out now."""
        return self.host.outgoing(self.now)

    def lost(self):
        columns = Columns()
        self.host.lost(self.now, columns)
        return self.rows(columns)

    def rows(self, columns):
        frame = columns.frame()
        values = frame.value.tolist()
        why = q.reason_codes(frame.value).tolist()
        shown = [v if np.isfinite(v) else q.reason_text(code) for v, code in zip(values, why, strict=True)]
        rows = zip(frame.point.tolist(), frame.time.tolist(), shown, frame.quality.tolist(), strict=True)
        return [(self.points.name(p), t, v, w) for p, t, v, w in rows]


STALE = q.INVALID | q.OLD_DATA


def names(rows):
    return [row[0] for row in rows]


def values(rows):
    return {name: value for name, _, value, _ in rows}
