"""``onpath status`` and ``reload`` against a real daemon, and against none."""

import asyncio
import json

import pytest

from tests.support.daemon import Daemon

CONFIG = """
adapters:
  bus: {type: mqtt, url: "mqtt://127.0.0.1:1", subscribe: [{topic: "site/{device}/t", payload: json}]}
pipelines:
  all: {from: "**", steps: [{deadband: {percent: 1}}], to: [out]}
uplinks:
  out: {type: file, path: FOLDER/out.jsonl}
"""


@pytest.mark.parametrize("verb", ["status", "reload"])
@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_no_daemon_answers(onpath, tmp_path, verb, extra):
    path = tmp_path / "onpath.yaml"
    path.write_text(f"state: {tmp_path}\n" + CONFIG.replace("FOLDER", str(tmp_path)))
    code, out, err = onpath(verb, "-c", path, *extra)
    assert (code, out) == (69, "")
    assert err.startswith(f"onpath: no onpath daemon answers for {tmp_path}")


async def test_a_running_daemon(onpath, tmp_path):
    async def ask(*args):
        return await asyncio.to_thread(onpath, *args)

    text = CONFIG.replace("FOLDER", str(tmp_path))
    daemon = Daemon(tmp_path, text)
    await daemon.start()
    try:
        code, out, _ = await ask("status", "-c", daemon.config, "--json")
        assert code == 0
        assert json.loads(out)["pipelines"]["all"]["in"] == 0
        code, out, _ = await ask("status", "--state", daemon.state)
        assert code == 0
        for word in ("g1", "adapters", "bus", "pipelines", "all", "deadband", "uplinks", "out"):
            assert word in out
        assert await ask("reload", "-c", daemon.config) == (0, "nothing changed\n", "")
        daemon.write(text.replace("percent: 1", "percent: 2"))
        assert await ask("reload", "-c", daemon.config) == (0, "pipelines: changed all\n", "")
        daemon.write(text.replace("percent: 2", "procent: 2").replace("to: [out]", "to: [nowhere]"))
        code, out, err = await ask("reload", "--state", daemon.state)
        assert (code, out) == (78, "")
        assert err.startswith("nothing was changed:\n")
        assert "nowhere" in err
        code, out, _ = await ask("reload", "--state", daemon.state, "--json")
        assert code == 78
        assert json.loads(out)["problems"]
    finally:
        await asyncio.to_thread(daemon.stop)
