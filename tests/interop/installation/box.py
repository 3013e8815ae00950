"""A fresh Debian, booted: systemd is PID 1 in namespaces of its own, and the network is nothing but loopback.

The root is made by debootstrap once and kept below ``build/``; each box writes to an overlay. What runs in a box is
real: systemd with its sandbox, its notify protocol and its journal, and dpkg. What is not: the kernel is the
machine's, and there are no devices.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
BASE = ROOT / "build" / "interop" / "debian-bookworm"
UNIFIED = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
PACKAGES = "systemd,systemd-sysv,dbus,python3,iproute2,procps"


def base() -> Path:
    """The root of a small Debian 12 with systemd and Python, from where this machine has its packages."""
    if not BASE.exists():
        part = BASE.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(part), _mirror()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"debootstrap failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        (part / "etc" / "hostname").write_text("box\n")
        part.rename(BASE)
    return BASE


def _mirror() -> str:
    said = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(CREATED_BY)"],
        capture_output=True,
        text=True,
        check=True,
    )
    for line in said.stdout.splitlines():
        site, codename, created = line.split()
        if codename == "bookworm" and created == "Packages":
            return site
    raise RuntimeError("this machine's apt knows no mirror of Debian bookworm")


class Box:
    """One booted Debian. ``run`` works in it; ``beside`` starts programs of this machine in its network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = folder / "in"
        self.inbox.mkdir(parents=True)
        self._cgroup = (
            next(Path(path) for path in UNIFIED if (Path(path) / "cgroup.procs").exists()) / f"onpath-{os.getpid()}"
        )
        self._unshare: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._started: list[subprocess.Popen[bytes]] = []

    def boot(self) -> None:
        """Until systemd says that it runs."""
        self._cgroup.mkdir()
        namespaces = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        command = ["unshare", *namespaces, HERE / "boot", base(), self.folder, "onpath-test"]
        with (self.folder / "boot.log").open("wb") as log:
            self._unshare = subprocess.Popen(
                # Joins the branch first: a cgroup namespace begins where its maker is
                ["sh", "-c", f'echo $$ >{self._cgroup}/cgroup.procs && exec "$@"', "sh", *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait(self._is_up, 60, "systemd did not come up")

    def _is_up(self) -> bool:
        if self._unshare.poll() is not None:
            raise RuntimeError(f"the box did not boot: {(self.folder / 'boot.log').read_text()}")
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text().strip() != "systemd":
            return False
        self._init = int(children[0])
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in {"running", "degraded"}

    def shut(self) -> None:
        """End everything that was started here; the journal stays beside the box's folder."""
        if self._init:
            journal = self.run("journalctl", "--no-pager", "--output=short-monotonic", check=False).stdout
            (self.folder / "journal.log").write_text(journal)
        for process in self._started:
            process.kill()
            process.wait()
        if self._unshare is not None and self._unshare.poll() is None:
            self._unshare.kill()  # --kill-child: and with PID 1 everything in its namespace
        if self._unshare is not None:
            self._unshare.wait()
        branches = [self._cgroup, *self._cgroup.rglob("*/")] if self._cgroup.exists() else []
        for branch in sorted(branches, key=lambda path: len(path.parts), reverse=True):
            self._wait(lambda branch=branch: _removed(branch), 10, f"{branch} stays")
        shutil.rmtree(self.folder / "upper", ignore_errors=True)

    def run(self, *command: str, check: bool = True, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """A command in the box, as root."""
        enter = ["nsenter", "-t", str(self._init), "-a", "-r", "-w"]
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        clean = ["env", "-i", f"PATH={path}", "LANG=C.UTF-8", "HOME=/root", "TERM=dumb"]
        done = subprocess.run(
            [*enter, *clean, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def sh(self, script: str, *, check: bool = True) -> str:
        """A line of shell in the box; what it prints."""
        return self.run("sh", "-c", script, check=check).stdout.strip()

    def beside(
        self, *command: str | Path, stdin: bytes | None = None, log: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """A program of this machine, with the box's network."""
        out = (log or self.folder / "beside.log").open("ab")
        process = subprocess.Popen(
            ["nsenter", "-t", str(self._init), "-n", *map(str, command)],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=out,
            stderr=out,
            cwd=ROOT,
        )
        out.close()
        self._started.append(process)
        if stdin is not None:
            process.communicate(stdin, timeout=120)
        return process

    def write(self, path: str, text: str) -> None:
        """A file in the box, as an administrator writes it."""
        self.run("sh", "-c", 'printf %s "$1" >"$2"', "sh", text, path)

    def status(self, config: str = "/etc/onpath") -> dict:
        """What ``onpath status --json`` says to root."""
        return json.loads(self.run("onpath", "status", "--json", "-c", config).stdout)

    def until(self, condition, timeout_s: float = 60, config: str = "/etc/onpath") -> dict:
        """Wait until the gateway's status fulfils a condition."""
        seen: list[dict] = []

        def holds() -> bool:
            seen[:] = [self.status(config)]
            return condition(seen[0])

        self._wait(holds, timeout_s, lambda: f"never so: {json.dumps(seen)[:4000]}")
        return seen[0]

    def files(self) -> set[str]:
        """Every path that an installation could have left."""
        skip = " -o ".join(
            f"-path {path}" for path in ("/proc", "/sys", "/dev", "/run", "/tmp", "/mnt", "/var/log", "/root")
        )
        found = self.sh(f"find / \\( {skip} \\) -prune -o -print")
        changing = ("/var/lib/dpkg/", "/var/cache/", "/var/lib/systemd/", "/var/tmp/", "/var/lib/apt/")
        return {line for line in found.splitlines() if not line.startswith(changing)}

    @staticmethod
    def _wait(condition, timeout_s: float, what) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(what() if callable(what) else what)
            time.sleep(0.2)


def _removed(branch: Path) -> bool:
    try:
        branch.rmdir()
    except OSError:
        return not branch.exists()
    return True
