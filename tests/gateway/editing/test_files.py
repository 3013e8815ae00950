"""Files of a configuration on disk: names, hashes, and that each is old or new and whole."""

import os
import stat

import pytest

from gateway.editing.files import ConfigFiles, NameRefusedError, NotWritableError, digest
from tests.support.mounts import tmpfs


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_read_as_the_loader_reads_it(tmp_path):
    for name in ("b.yaml", "a.yml", ".hidden.yaml", "x.test.yaml", "notes.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "sub.yaml").mkdir()
    assert list(ConfigFiles(tmp_path).read()) == ["a.yml", "b.yaml"]


def test_the_hash_covers_names_and_texts():
    one = digest({"a.yaml": b"x", "b.yaml": b"y"})
    assert one == digest({"b.yaml": b"y", "a.yaml": b"x"}), "their order means nothing"
    others = [{"a.yaml": b"x"}, {"a.yaml": b"xb.yaml", "b.yaml": b""}, {"a.yaml": b"y", "b.yaml": b"x"}, {}]
    assert len({one, *map(digest, others)}) == 5


WRONG = [
    "../a.yaml", "sub/a.yaml", "/etc/a.yaml", ".a.yaml", "a.txt", "a.test.yaml", "", "..", "a\n.yaml", "a\0.yaml",
    "x" * 300 + ".yaml",
]  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(NameRefusedError):
        ConfigFiles(tmp_path).check_names(["ok.yaml", name])
    ConfigFiles(tmp_path).check_names(["ok.yaml", "site 2.yml", "Zähler.yaml"])


def test_a_single_file_stays_the_only_one(tmp_path):
    file = tmp_path / "onpath.yaml"
    file.write_text("x")
    files = ConfigFiles(file)
    files.check_names(["onpath.yaml"])
    for wrong in (["other.yaml"], ["onpath.yaml", "other.yaml"], []):
        with pytest.raises(NameRefusedError):
            files.check_names(wrong)


def test_mode_stays_and_a_new_file_looks_like_its_neighbours(tmp_path):
    old = tmp_path / "a.yaml"
    old.write_text("old")
    old.chmod(0o604)
    ConfigFiles(tmp_path).put({"a.yaml": b"new", "b.yaml": b"more"})
    for name, text in (("a.yaml", "new"), ("b.yaml", "more")):
        assert (tmp_path / name).read_text() == text
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o604
    assert names(tmp_path) == ["a.yaml", "b.yaml"], "nothing temporary stays"


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("old")
    os.chown(file, 1234, 2345)
    ConfigFiles(tmp_path).put({"a.yaml": b"new"})
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 2345)


def test_a_link_stays_a_link(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "site.yaml").write_text("old")
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "site.yaml").symlink_to(real / "site.yaml")
    ConfigFiles(etc).put({"site.yaml": b"new"})
    assert (etc / "site.yaml").is_symlink()
    assert (real / "site.yaml").read_text() == "new"


def test_all_are_ready_before_the_first_takes_its_place(tmp_path):
    """One that cannot be written leaves all as they were."""
    (tmp_path / "a.yaml").write_text("old")
    with pytest.raises(NotWritableError, match="cannot be written"):
        ConfigFiles(tmp_path).put({"a.yaml": b"new", "x" * 250 + ".yaml": b"too long a name"})
    assert names(tmp_path) == ["a.yaml"]
    assert (tmp_path / "a.yaml").read_text() == "old"


def test_what_a_killed_process_left_is_written_over(tmp_path):
    (tmp_path / ".a.yaml.onpath-new").write_text("half")
    ConfigFiles(tmp_path).put({"a.yaml": b"new"})
    assert names(tmp_path) == ["a.yaml"]


def test_a_read_only_file_system_is_said_with_what_to_do(tmp_path):
    assert ConfigFiles(tmp_path).why_not() == ""
    with tmpfs(tmp_path / "etc", "size=1m,ro") as etc:
        why = ConfigFiles(etc).why_not()
        with pytest.raises(NotWritableError, match="Read-only file system"):
            ConfigFiles(etc).put({"a.yaml": b"x"})
    assert "read-only for the gateway" in why
    assert f"sudo onpath config apply -c {etc} FILE" in why
    assert f"ReadWritePaths={etc}" in why


def test_a_full_disk_leaves_all_as_it_was(tmp_path):
    with tmpfs(tmp_path / "etc", "size=64k") as etc:
        (etc / "a.yaml").write_text("old")
        with pytest.raises(NotWritableError, match="No space left"):
            ConfigFiles(etc).put({"a.yaml": b"new", "b.yaml": bytes(100_000)})
        assert names(etc) == ["a.yaml"]
        assert (etc / "a.yaml").read_text() == "old"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_missing_rights_are_said(tmp_path):
    tmp_path.chmod(0o555)
    try:
        assert "may not write to" in ConfigFiles(tmp_path).why_not()
    finally:
        tmp_path.chmod(0o755)
