"""The devices, in a process of their own: ``publisher PORT QOS COUNT RATE CLOCK [DEVICES [PADDING]]``.

RATE 0 sends as fast as the broker takes it. CLOCK ``ms`` stamps the messages a millisecond apart, ending now;
``ns`` stamps each with the moment it is sent. Says ``ready``, waits for a line, sends, says ``sent SECONDS``.
"""

from __future__ import annotations

import socket
import sys
import time

from tests.benchmarks import traffic
from tests.benchmarks.child import say

WINDOW = 200
"""Messages of QoS 1 that are not yet acknowledged, at most."""
_PLACE = b"0" * 19
"""Room for a time in ns."""


class Link:
    """A blocking connection that counts the broker's acknowledgements."""

    def __init__(self, port: int, qos: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(traffic.connect("publisher"))
        assert self._socket.recv(4) == b"\x20\x02\0\0"
        self._qos = qos
        self._sent = 0
        self._acknowledged = 0
        """Bytes of PUBACKs, 4 each."""

    def send(self, packets: list[bytes]) -> None:
        self._socket.sendall(b"".join(packets))
        self._sent += len(packets)
        if self._qos:
            self.settle(WINDOW)

    def settle(self, open_at_most: int) -> None:
        """Wait until so few are not acknowledged."""
        while self._qos and 4 * (self._sent - open_at_most) > self._acknowledged:
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionError("the broker closed the connection")
            self._acknowledged += len(received)

    def close(self) -> None:
        self.settle(0)
        self._socket.sendall(b"\xe0\0")
        self._socket.shutdown(socket.SHUT_WR)
        while self._socket.recv(65536):
            pass
        self._socket.close()


def saturate(link: Link, packets: list[bytes]) -> None:
    step = WINDOW // 2
    for start in range(0, len(packets), step):
        link.send(packets[start : start + step])


def pace(link: Link, packets: list[bytes], rate: int, places: list[int]) -> None:
    """A message when its time has come; those that are due together go together, every millisecond."""
    began = time.monotonic()
    done = 0
    while done < len(packets):
        due = min(len(packets), int((time.monotonic() - began) * rate) + 1)
        if due > done:
            group = packets[done:due]
            if places:
                now = b"%d" % time.time_ns()
                group = [one[:at] + now + one[at + 19 :] for one, at in zip(group, places[done:due], strict=True)]
            link.send(group)
            done = due
        time.sleep(max(0.001, began + done / rate - time.monotonic()))


def main(
    port: int, qos: int, count: int, rate: int, clock: str, devices: int = traffic.DEVICES, padding: int = 0
) -> None:
    if clock == "ns":
        times = [_PLACE.decode()] * count
    else:
        last = time.time_ns() // 1_000_000
        times = [str(last - count + n) for n in range(count)]
    packets = traffic.packets(count, qos, times, devices, padding)
    places = [packet.index(_PLACE) for packet in packets] if clock == "ns" else []
    link = Link(port, qos)
    say("ready")
    if not sys.stdin.readline():
        return
    began = time.perf_counter()
    if rate:
        pace(link, packets, rate, places)
    else:
        saturate(link, packets)
    link.close()
    say("sent", time.perf_counter() - began)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]), sys.argv[5], *map(int, sys.argv[6:]))
