"""Options of the Modbus adapter. Light to import: no protocol library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec

from adapters.base import AdapterConfig
from adapters.modbus.place import Byte, Order, ValueType, parse_at
from adapters.modbus.scaling import ScaleFrom, check_meaning
from adapters.modbus.unit_ranges import parse_units
from adapters.modbus.url import Carrier, Endpoint, parse_url
from adapters.modbus.write_options import Write
from gateway.errors import FieldError
from gateway.point import Kind, Name, PointOptions
from gateway.units import Duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.modbus.adapter import ModbusAdapter

MAX_REGISTERS = 125
SUNSPEC = "sunspec"
"""The profile that is not a file: the device itself says what it has."""


class Bits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A field of neighbouring bits within an unsigned integer."""

    from_: Annotated[int, msgspec.Meta(ge=0, le=63)] = msgspec.field(name="from")
    """The least significant bit of the field; 0 is the least significant bit of the value."""
    count: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """How many bits the field has."""


class ModbusPoint(PointOptions, frozen=True, kw_only=True):
    """One value of a device."""

    at: Annotated[str, msgspec.Meta(min_length=1)]
    """Table and zero-based address as they go over the wire: ``holding:10``, ``input:0x48``, ``coil:3``,
    ``discrete:0``. Printed maps often count from one or prefix 3 or 4; subtract that."""
    as_: ValueType | None = msgspec.field(default=None, name="as")
    """Type of the value. Default: ``bool`` in coils and discrete inputs, ``uint16`` in registers. A
    ``bool`` on a register is true if the register is not zero. Integers beyond 2**53 lose their last
    digits and are flagged inaccurate."""
    order: Order = Order.ABCD
    """Order of the bytes: ``ABCD`` (big endian), ``CDAB`` (words swapped), ``BADC`` (bytes swapped in
    each word), ``DCBA`` (little endian); for 64 bits the same rule over four words, for 16 bits and
    strings only the bytes count."""
    byte: Byte = Byte.LOW
    """Which byte of the register an ``int8`` or ``uint8`` is."""
    bit: Annotated[int, msgspec.Meta(ge=0, le=63)] | None = None
    """One bit of an unsigned integer as 0 or 1; bit 0 is the least significant."""
    bits: Bits | None = None
    """Several bits of an unsigned integer as a number: ``{from: 4, count: 3}``."""
    length: Annotated[int, msgspec.Meta(ge=1, le=MAX_REGISTERS)] | None = None
    """Registers that a ``string`` takes (two characters each)."""
    scale: float = 1.0
    """The value is what is read, times ``scale``, plus ``offset``."""
    offset: float = 0.0
    """Added after scaling."""
    scale_from: list[ScaleFrom] = msgspec.field(default_factory=list)
    """Scale factors that are read along, in the same request; the value is multiplied by each, too. If a
    factor is not implemented, neither is the value."""
    times: list[Name] = msgspec.field(default_factory=list)
    """Names of the device's ``params`` (such as ``ct``) that multiply value, limits and resolution."""
    invalid: list[int] = msgspec.field(default_factory=list)
    """Raw values that stand for "not there", such as ``[0xFFFF]``, as the registers hold them (before bits
    are taken out, before scaling); the sample has no value then, and the reason ``not-implemented``."""
    never_zero: bool = False
    """A zero, or an empty string, is not there either: for lifetime counters, which some devices
    report as 0 at night or while they start."""
    texts: dict[Annotated[str, msgspec.Meta(min_length=1)], int] = msgspec.field(default_factory=dict)
    """Numbers that stand for texts, ``{standby: 0, running: 2}``; the point is a state then. A number without
    a text is told as itself."""
    every: Duration | None = None
    """Period of this point; default: its device's."""
    writable: bool = False
    """Whether commands may write this coil or holding register; short for ``write: {}``."""
    write: Write | None = None
    """Commands may write this point, and how: ``{function: 16, tolerance: 0.01, settle: 200ms}``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            table, address = parse_at(self.at)
        except ValueError as error:
            raise FieldError("at", str(error)) from None
        if self.every is not None and self.every <= 0:
            raise FieldError("every", "a period must be longer than zero")
        if table.is_bits and self.type is not ValueType.BOOL:
            raise FieldError("as", f"a {table} is a bool")
        self._check_string()
        self._check_layout()
        self._check_bits()
        check_meaning(self)
        if address + self.width > 0x1_0000:
            raise FieldError("at", f"{self.width} registers from {address} reach beyond address 65535")
        if self.writing is not None:
            self.writing.check(self, "writable" if self.write is None else "write")

    def _check_string(self) -> None:
        text = self.type is ValueType.STRING
        if text and self.length is None:
            raise FieldError("length", "a string needs its length in registers")
        if not text and self.length is not None:
            raise FieldError("length", "only a string has a length")
        if text and self.kind is Kind.COUNTER:
            raise FieldError("kind", "a string is a state")
        if text and (self.scale, self.offset) != (1.0, 0.0):
            raise FieldError("scale" if self.scale != 1.0 else "offset", "a string is not a number")

    def _check_layout(self) -> None:
        small = self.type in {ValueType.BOOL, ValueType.INT8, ValueType.UINT8}
        if small and self.order is not Order.ABCD:
            raise FieldError("order", f"a {self.type} has no order of bytes")
        if self.type is ValueType.STRING and self.order.swaps_words:
            raise FieldError("order", "the order of a string is ABCD or BADC (bytes swapped)")
        if self.byte is Byte.HIGH and self.type not in {ValueType.INT8, ValueType.UINT8}:
            raise FieldError("byte", f"a {self.type} is not a byte; this is for int8 and uint8")

    def _check_bits(self) -> None:
        if self.bit is not None and self.bits is not None:
            raise FieldError("bits", "bit and bits exclude each other")
        field, key = self.field, "bit" if self.bit is not None else "bits"
        if field is None:
            return
        if not self.type.is_unsigned:
            raise FieldError(key, f"bits are taken out of unsigned integers, not out of {self.type}")
        if field.from_ + field.count > self.type.size * 8:
            raise FieldError(key, f"a {self.type} has the bits 0 to {self.type.size * 8 - 1}")

    @property
    def type(self) -> ValueType:
        """The type with its default filled in."""
        bits = parse_at(self.at)[0].is_bits
        return self.as_ or (ValueType.BOOL if bits else ValueType.UINT16)

    @property
    def field(self) -> Bits | None:
        """The bits taken out of the value, or None for the whole value."""
        return Bits(from_=self.bit) if self.bit is not None else self.bits

    @property
    def width(self) -> int:
        """Addresses that the value takes: registers, or one coil."""
        if parse_at(self.at)[0].is_bits:
            return 1
        return self.length or max(1, self.type.size // 2)

    @property
    def is_state(self) -> bool:
        """Whether the values are texts."""
        return self.type is ValueType.STRING or bool(self.texts)

    @property
    def writing(self) -> Write | None:
        """How commands may write the point, or None if they may not."""
        return self.write or (Write() if self.writable else None)


class ModbusDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One device (unit) behind the endpoint. Needs ``profile`` or ``points``, or both."""

    unit: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    """Unit id (slave address), 0 to 255."""
    every: Duration = Duration(1)
    """Period of the device's points; such as ``500ms``."""
    profile: str = ""
    """Name of a device type's register map, see docs/profiles.md; ``sunspec`` finds the map on the device."""
    only: list[str] = []
    """Names or globs (``voltage_*``) of the profile's points to read; default: all of them."""
    params: dict[Name, Annotated[float, msgspec.Meta(gt=0)]] = {}
    """What the profile must know of this installation, such as ``{ct: 40}``, a transformer's ratio."""
    base: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] | None = None
    """Where the marker of a ``sunspec`` device lies; default: 40000, 0 and 50000 are tried."""
    points: dict[Name, ModbusPoint] = {}
    """Points by name; they add to those of the profile, and replace one of the same name."""
    max_registers: Annotated[int, msgspec.Meta(ge=1, le=MAX_REGISTERS)] | None = None
    """Registers a read may ask for; default: the profile's or the endpoint's, whichever is smaller."""
    max_gap: Annotated[int, msgspec.Meta(ge=0, le=MAX_REGISTERS)] | None = None
    """Registers a read may bridge; default: the profile's or the endpoint's, whichever is smaller."""
    retries: Annotated[int, msgspec.Meta(ge=0, le=3)] = 0
    """How often a read that got no answer is asked again at once: 1 for a device that sleeps and is woken
    by the first request. Writes are never repeated."""

    def __post_init__(self) -> None:
        if self.every <= 0:
            raise FieldError("every", "a period must be longer than zero")
        if not self.profile and not self.points:
            raise FieldError("points", "a device needs a profile or points")
        if self.only and not self.profile:
            raise FieldError("only", "selects points of a profile, and there is none")
        if self.base is not None and self.profile != SUNSPEC:
            raise FieldError("base", f"only a device with profile: {SUNSPEC} has one")


class Register(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a modem that dials in is known, on ``listen+tcp://``."""

    pattern: Annotated[str, msgspec.Meta(min_length=1)]
    """Regular expression that the whole registration packet must match, the first thing that a modem
    sends: ``'feeder-7\\r\\n'``, or bytes such as ``'\\x7e\\x01[0-9]{4}'``. Who fits the pattern of no adapter on this
    host and port, or of more than one, is refused."""
    timeout: Duration = Duration(10)
    """How long a modem may take to send its packet."""
    heartbeat: str = ""
    """Regular expression of a packet that the modem sends now and then, which is ignored. Default: none."""

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise FieldError("timeout", "must be longer than zero")
        for field in ("pattern", "heartbeat"):
            try:
                expression = re.compile(getattr(self, field).encode(), re.DOTALL)
            except re.error as error:
                raise FieldError(field, f"is no regular expression: {error}") from None
            if getattr(self, field) and expression.fullmatch(b""):
                raise FieldError(field, "matches nothing at all, and so everybody")


class ModbusConfig(AdapterConfig, frozen=True, kw_only=True, tag="modbus"):
    """Devices behind one Modbus endpoint, polled through one connection, one request at a time."""

    url: Annotated[str, msgspec.Meta(min_length=1)]
    """``tcp://10.0.0.5:502``, ``udp://10.0.0.5:502``, ``tls://10.0.0.5:802``,
    ``rtu:///dev/ttyUSB0?baudrate=9600&parity=N&stopbits=1&bytesize=8``, ``ascii:///dev/ttyUSB0``,
    ``rtu+tcp://10.0.0.5:4001`` and ``ascii+tcp://10.0.0.5:4001`` (through a serial server), or
    ``listen+tcp://0.0.0.0:5020?framing=rtu`` for a modem that dials in."""
    ca: str = ""
    """File with the certificates that a ``tls://`` device's must come from; needed there."""
    cert: str = ""
    """File with the gateway's own certificate, needed for ``tls://``: devices ask for one."""
    key: str = ""
    """File with the private key of ``cert``."""
    server_name: str = ""
    """Name that a ``tls://`` device's certificate must bear; default: the host of the url."""
    register: Register | None = None
    """How the modem of a ``listen+tcp://`` endpoint is known; needed there. Several adapters may
    listen on the same host and port, each for its own modem."""
    pipeline: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    """Requests that may be under way at a time, over ``tcp://`` and ``tls://``. More than one only helps
    with a device that is made for it: serial lines behind gateways lose requests."""
    timeout: Duration = Duration(1)
    """How long to wait for an answer."""
    request_delay: Duration = Duration(0)
    """Pause between an answer and the next request; 25 ms cures many converters."""
    connect_delay: Duration = Duration(0)
    """Pause after connecting; some gateways swallow requests for up to 2 s."""
    max_registers: Annotated[int, msgspec.Meta(ge=1, le=MAX_REGISTERS)] = MAX_REGISTERS
    """Registers a read may ask for; of coils and discrete inputs 16 times as many, at most 2,000."""
    max_gap: Annotated[int, msgspec.Meta(ge=0, le=MAX_REGISTERS)] = 10
    """Registers between two points that are read along to save a request; 0 never reads an undefined
    register. Of coils and discrete inputs 16 times as many."""
    profiles: str = ""
    """A folder of further profiles, one ``NAME.yaml`` each; they come before those shipped."""
    discover: str = ""
    """Units to look for beside those configured, such as ``1-32``: who they are (function 43, SunSpec) is asked
    once an hour with a tenth of the bus's time, and shown by ``onpath discover``. Default: none."""
    devices: dict[Name, ModbusDevice] = msgspec.field(default_factory=dict)
    """Devices by name; a point's name is ``device/point``. Needed, unless there is ``discover``."""

    def __post_init__(self) -> None:
        from adapters.modbus.profile import resolve

        try:
            endpoint = parse_url(self.url)
        except ValueError as error:
            raise FieldError("url", str(error)) from None
        self._check_link(endpoint)
        if self.timeout <= 0:
            raise FieldError("timeout", "must be longer than zero")
        if not self.devices and not self.discover:
            raise FieldError("devices", "nothing to read: name devices, or units to look for with discover")
        if self.discover:
            try:
                parse_units(self.discover)
            except ValueError as error:
                raise FieldError("discover", str(error)) from None
        for name in self.devices:
            resolve(self, name)

    def _check_link(self, endpoint: Endpoint) -> None:
        """Certificates, registration and pipeline belong to the endpoint's kind."""
        secure = endpoint.carrier is Carrier.TLS
        for key in ("ca", "cert", "key", "server_name"):
            if getattr(self, key) and not secure:
                raise FieldError(key, "certificates need TLS: write tls:// in the url")
            if secure and key != "server_name" and not getattr(self, key):
                raise FieldError(key, "tls:// needs ca, cert and key: both sides show a certificate")
        listens = endpoint.carrier is Carrier.LISTEN
        if listens and self.register is None:
            raise FieldError("register", "listen+tcp:// needs the pattern of the modem's registration packet")
        if self.register is not None and not listens:
            raise FieldError("register", "only who listens is dialled: write listen+tcp:// in the url")
        if self.pipeline > 1 and not endpoint.pipelines:
            raise FieldError("pipeline", "only tcp:// and tls:// can tell answers apart")
        if self.pipeline > 1 and self.request_delay > 0:
            raise FieldError("pipeline", "request_delay asks for one request at a time")

    def create(self) -> ModbusAdapter:
        """See the base class."""
        from adapters.modbus.adapter import ModbusAdapter

        return ModbusAdapter(self)

    def devices_named(self) -> Sequence[str]:
        """See the base class."""
        return tuple(self.devices)

    def devices_appear(self) -> bool:
        """See the base class."""
        return bool(self.discover)
