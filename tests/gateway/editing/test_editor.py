"""Editing under a running gateway: check, compare, apply, conflicts, going back, changes that revert by themselves."""

import asyncio

import pytest

from gateway.editing.change import ChangeRecord
from gateway.editing.editor import ConflictError, Made, RefusedError
from gateway.editing.files import BadRequestError, NameRefusedError, NotWritableError
from gateway.editing.versions import NoVersionError
from gateway.errors import StoreError
from tests.support.mounts import remount, tmpfs

ME = Made("anna", "because")
MORE = "uplinks: {more: {type: file, path: %s/more}}\npipelines: {two: {from: ['**'], to: [more]}}\n"


def files(shown, **texts):
    """All files as they are, some with other texts; None: without it."""
    now = {one["name"]: one["text"] for one in shown["files"]} | {f"{name}.yaml": text for name, text in texts.items()}
    return [(name, text) for name, text in now.items() if text is not None]


def on_disk(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


async def versions(running):
    return [
        (one["version"], one["by"], one["comment"], one["running"]) for one in await running.editing.list_versions()
    ]


async def test_what_runs_at_the_start_is_a_version_and_so_is_a_reload_from_disk(folder, a_gateway, tmp_path):
    async with a_gateway(folder) as running:
        shown = await running.editing.current()
        assert (shown["path"], shown["folder"], shown["writable"], shown["why_not"]) == (str(folder), True, True, "")
        assert shown["running"] is True
        assert [one["name"] for one in shown["files"]] == ["a.yaml", "b.yaml"]
        (folder / "c.yaml").write_text(MORE % tmp_path)
        assert (await running.editing.current())["running"] is False
        await running.reload()
        assert (await running.editing.current())["running"] is True
        await running.reload()
        assert await versions(running) == [(2, "file", "read from disk", True), (1, "file", "read from disk", False)]
        assert {one["name"] for one in (await running.editing.show_version(1))["files"]} == {"a.yaml", "b.yaml"}


async def test_check_says_what_onpath_check_says_and_writes_nothing(folder, a_gateway):
    async with a_gateway(folder) as running:
        before = on_disk(folder)
        shown = await running.editing.current()
        wrong = files(shown, c="pipelines:\n  p: {from: 'a/*', to: [otu]}\n  q: {from: x, to: []}\n")
        assert (await running.editing.check(wrong))["problems"] == [
            {
                "file": "c.yaml", "line": 2, "column": 25, "path": "pipelines.p.to[0]", "severity": "error",
                "message": 'no uplink or pipeline is named "otu"; did you mean "out"?',
            },
        ]  # fmt: skip
        syntax = (await running.editing.check(files(shown, c="pipelines: [\n")))["problems"]
        assert (syntax[0]["file"], syntax[0]["severity"]) == ("c.yaml", "error")
        (warning,) = (await running.editing.check(files(shown, c="uplinks: {idle: {type: stdout}}\n")))["problems"]
        assert (warning["severity"], warning["message"]) == ("warning", "no pipeline feeds this uplink")
        assert on_disk(folder) == before
        assert [head.version for head in running.editing.versions.heads()] == [1]


async def test_credentials_and_variables_come_from_the_daemon_and_never_out(folder, a_gateway, tmp_path):
    (tmp_path / "pw").write_text("tOpsEcret77\n")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path), "POINTS": "77"}
    async with a_gateway(folder, env) as running:
        shown = await running.editing.current()
        bad = files(shown, c="max_points: ${credential:pw}\nlog: {level: '${credential:pw}'}\n")
        problems = (await running.editing.check(bad))["problems"]
        assert len(problems) == 2
        assert "tOpsEcret77" not in str(problems)
        assert "a credential" in problems[0]["message"]
        assert (await running.editing.check(files(shown, c="max_points: ${POINTS}\n")))["problems"] == []
        (missing,) = (await running.editing.check(files(shown, c="max_points: ${NOWHERE}\n")))["problems"]
        assert "$NOWHERE is not set" in missing["message"]


async def test_diff_shows_lines_and_what_a_reload_would_touch(folder, a_gateway, tmp_path):
    async with a_gateway(folder) as running:
        shown = await running.editing.current()
        changed = files(shown, b=dict(files(shown))["b.yaml"].replace("/out}", "/other}"), c=MORE % tmp_path)
        found = await running.editing.diff(changed)
        assert found["problems"] == []
        assert found["changes"]["uplinks"] == {"added": ["more"], "changed": ["out"], "removed": []}
        assert found["changes"]["pipelines"]["added"] == ["two"]
        assert "--- a/b.yaml\n+++ b/b.yaml\n" in found["diff"]
        assert "--- /dev/null\n+++ b/c.yaml\n" in found["diff"]
        assert "a.yaml" not in found["diff"]
        assert (await running.editing.diff(files(shown)))["diff"] == ""
        broken = await running.editing.diff(files(shown, c="x: 1\n"))
        assert broken["changes"] is None
        assert broken["problems"][0]["severity"] == "error"


async def test_apply_writes_reloads_and_records(folder, a_gateway, tmp_path):
    async with a_gateway(folder) as running:
        shown = await running.editing.current()
        done = await running.editing.apply(files(shown, c=MORE % tmp_path), ME, base=shown["base"])
        assert done["version"] == 2
        assert done["changes"]["uplinks"]["added"] == ["more"]
        assert set(running.uplinks) == {"out", "more"}
        assert on_disk(folder).keys() == {"a.yaml", "b.yaml", "c.yaml"}
        assert await versions(running) == [(2, "anna", "because", True), (1, "file", "read from disk", False)]
        shown = await running.editing.current()
        await running.editing.apply(files(shown, c=None), ME, base=shown["base"])
        assert on_disk(folder).keys() == {"a.yaml", "b.yaml"}
        assert set(running.uplinks) == {"out"}
        again = await running.editing.apply(files(await running.editing.current()), ME)
        assert again["version"] == 3, "nothing changed: no version"
        assert ChangeRecord(tmp_path / "state").found() is None


async def test_a_file_with_the_same_text_stays_byte_for_byte(folder, a_gateway, tmp_path):
    (folder / "c.yaml").write_bytes("\ufeffmax_points: 5000\n".encode())
    inode = (folder / "c.yaml").stat().st_ino
    async with a_gateway(folder) as running:
        shown = await running.editing.current()
        await running.editing.apply(files(shown, d=MORE % tmp_path), ME)
        assert (folder / "c.yaml").read_bytes().startswith("\ufeff".encode())
        assert (folder / "c.yaml").stat().st_ino == inode


async def test_a_change_by_somebody_else_is_a_conflict(folder, a_gateway, tmp_path):
    async with a_gateway(folder) as running:
        shown = await running.editing.current()
        (folder / "by-hand.yaml").write_text("max_points: 7000\n")
        before = on_disk(folder)
        with pytest.raises(ConflictError, match="somebody else"):
            await running.editing.apply(files(shown, c=MORE % tmp_path), ME, base=shown["base"])
        assert on_disk(folder) == before


async def test_two_at_once_are_one_after_another(folder, a_gateway, tmp_path):
    async with a_gateway(folder) as running:
        shown = await running.editing.current()
        tries = [
            running.editing.apply(files(shown, c=MORE % tmp_path + f"max_points: {n}\n"), ME, base=shown["base"])
            for n in (5001, 5002, 5003)
        ]
        found = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(one, dict) for one in found) == 1
        assert sum(isinstance(one, ConflictError) for one in found) == 2


async def test_what_cannot_be_run_is_refused_with_its_problems(folder, a_gateway):
    async with a_gateway(folder) as running:
        before = on_disk(folder)
        shown = await running.editing.current()
        with pytest.raises(RefusedError) as refused:
            await running.editing.apply(files(shown, c="pipelines: {p: {from: x, to: [nobody]}}\n"), ME)
        assert refused.value.rows[0]["file"] == "c.yaml"
        moved = dict(files(shown))["a.yaml"].replace("g1", "g2")
        with pytest.raises(RefusedError, match=r"a\.yaml:1:1: gateway: cannot change while running"):
            await running.editing.apply(files(shown, a=moved), ME)
        (error,) = (await running.editing.check(files(shown, a=moved)))["problems"]
        assert (error["line"], error["path"], error["severity"]) == (1, "gateway", "error")
        with pytest.raises(NameRefusedError):
            await running.editing.apply([*files(shown), ("../x.yaml", "")], ME)
        assert on_disk(folder) == before
        assert (running.reloads["done"], running.reloads["failed"]) == (0, 0)


async def test_a_reload_that_fails_brings_the_former_files_back(folder, a_gateway, tmp_path, monkeypatch):
    """The store refuses while pipelines change, as on a full disk: files and gateway are as before."""
    async with a_gateway(folder) as running:
        before, shown = on_disk(folder), await running.editing.current()
        real, calls = running.intake.reconfigure, []

        async def fails_once(pipelines, learned):
            calls.append(set(pipelines))
            if len(calls) == 1:
                raise StoreError("the disk is full")
            await real(pipelines, learned)

        monkeypatch.setattr(running.intake, "reconfigure", fails_once)
        with pytest.raises(StoreError, match="the disk is full"):
            await running.editing.apply(files(shown, c=MORE % tmp_path), ME)
        assert on_disk(folder) == before
        assert calls == [{"all", "two"}, {"all"}]
        assert set(running.uplinks) == {"out"}
        assert set(running.config.pipelines) == {"all"}
        assert ChangeRecord(tmp_path / "state").found() is None


async def test_going_back_is_a_version_of_its_own(folder, a_gateway, tmp_path):
    async with a_gateway(folder) as running:
        before, shown = on_disk(folder), await running.editing.current()
        await running.editing.apply(files(shown, c=MORE % tmp_path), ME)
        done = await running.editing.rollback(1, Made("bob"))
        assert done["version"] == 3
        assert done["changes"]["uplinks"]["removed"] == ["more"]
        assert on_disk(folder) == before
        assert (await versions(running))[0] == (3, "bob", "back to version 1", True)
        with pytest.raises(NoVersionError):
            await running.editing.rollback(99, ME)


async def test_unless_confirmed_it_reverts_by_itself(folder, a_gateway, tmp_path):
    async with a_gateway(folder) as running:
        before, shown = on_disk(folder), await running.editing.current()
        done = await running.editing.apply(files(shown, c=MORE % tmp_path), ME, confirm_s=1.0)
        assert done["unconfirmed"]["version"] == 2
        assert set(running.uplinks) == {"out", "more"}
        with pytest.raises(ConflictError, match="version 2 waits to be confirmed"):
            await running.editing.apply(files(shown), ME)
        async with asyncio.timeout(30):
            while len(await versions(running)) < 3:  # noqa: ASYNC110  from outside there is nothing else to wait for
                await asyncio.sleep(0.05)
        assert set(running.uplinks) == {"out"}
        assert on_disk(folder) == before
        assert (await versions(running))[0] == (3, "onpath", "version 2 was not confirmed within 1 s", True)
        with pytest.raises(ConflictError, match="no change waits"):
            await running.editing.confirm()


async def test_confirmed_it_stays_and_taken_back_it_goes_at_once(folder, a_gateway, tmp_path):
    async with a_gateway(folder) as running:
        before, shown = on_disk(folder), await running.editing.current()
        await running.editing.apply(files(shown, c=MORE % tmp_path), ME, confirm_s=1.0)
        assert await running.editing.confirm() == {"version": 2, "kept": True}
        await asyncio.sleep(1.3)
        assert set(running.uplinks) == {"out", "more"}
        await running.editing.rollback(1, ME, confirm_s=600)
        assert set(running.uplinks) == {"out"}
        await running.editing.confirm(keep=False)
        assert set(running.uplinks) == {"out", "more"}
        assert on_disk(folder) != before
        for wrong in (0.5, -1, 1e9):
            with pytest.raises(BadRequestError):
                await running.editing.apply(files(shown), ME, confirm_s=wrong)


async def test_an_edit_by_hand_is_not_overwritten_when_a_change_reverts(folder, a_gateway, tmp_path):
    async with a_gateway(folder) as running:
        shown = await running.editing.current()
        await running.editing.apply(files(shown, c=MORE % tmp_path), ME, confirm_s=600)
        by_hand = MORE % tmp_path + "max_points: 4321\n"
        (folder / "c.yaml").write_text(by_hand)
        await running.reload()
        await running.editing.confirm(keep=False)
        assert (folder / "c.yaml").read_text() == by_hand
        assert running.config.max_points == 4321


async def test_a_stop_before_the_confirmation_is_a_no(folder, a_gateway, tmp_path):
    before = on_disk(folder)
    async with a_gateway(folder) as running:
        shown = await running.editing.current()
        await running.editing.apply(files(shown, c=MORE % tmp_path), ME, confirm_s=600)
    assert on_disk(folder).keys() == {"a.yaml", "b.yaml", "c.yaml"}
    async with a_gateway(folder) as running:
        assert on_disk(folder) == before
        assert set(running.uplinks) == {"out"}
    assert ChangeRecord(tmp_path / "state").found() is None


async def test_where_it_may_not_write_it_says_so(tmp_path, folder, a_gateway):
    with tmpfs(tmp_path / "mount", "size=1m") as etc:
        for path in folder.iterdir():
            (etc / path.name).write_text(path.read_text())
        remount(etc, "ro")
        async with a_gateway(etc) as running:
            shown = await running.editing.current()
            assert shown["writable"] is False
            assert shown["instead"] == f"sudo onpath config apply -c {etc} FILE"
            with pytest.raises(NotWritableError, match="read-only for the gateway"):
                await running.editing.apply(files(shown, c=MORE % tmp_path), ME)
            assert (await running.editing.diff(files(shown, c=MORE % tmp_path)))["problems"] == []
            assert set(running.uplinks) == {"out"}


async def test_a_single_file_can_be_edited_too(tmp_path, a_gateway):
    path = tmp_path / "onpath.yaml"
    path.write_text(f"gateway: g1\nstate: {tmp_path}/state\nuplinks: {{out: {{type: file, path: {tmp_path}/out}}}}\n")
    async with a_gateway(path) as running:
        shown = await running.editing.current()
        assert (shown["folder"], [one["name"] for one in shown["files"]]) == (False, ["onpath.yaml"])
        text = shown["files"][0]["text"] + "max_points: 1234\n"
        await running.editing.apply([("onpath.yaml", text)], ME, base=shown["base"])
        assert running.config.max_points == 1234
        assert path.read_text() == text


async def test_a_file_that_is_no_text_is_not_touched(folder, a_gateway):
    async with a_gateway(folder) as running:
        (folder / "c.yaml").write_bytes(b"# \xff\n")
        shown = await running.editing.current()
        assert shown["writable"] is False
        assert "c.yaml is not UTF-8" in shown["why_not"]
