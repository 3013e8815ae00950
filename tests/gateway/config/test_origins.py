"""Where values come from, and how they are printed."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.config import extended, load_checked
from gateway.config.compose import parse
from gateway.config.emit import path_filter, scalar
from gateway.config.expand import Expander
from gateway.config.grow import grown, tree_of
from gateway.config.lenient import LenientExpander
from gateway.config.nodes import Scalar, resolve
from gateway.config.origins import DISCOVERY, effective, rows
from gateway.config.secret import HIDDEN, is_secret_key, without_login


def found_in(tmp_path, text, env=None, additions=None):
    (tmp_path / "site.yaml").write_text(text)
    loaded = load_checked(tmp_path, env or {})
    config, root = loaded.config, loaded.root
    for key, addition in (additions or {}).items():
        root = grown(root, tree_of(addition, DISCOVERY + key))
    if additions:
        config, refused = extended(loaded, additions)
        assert refused == []
    shown = effective(config, root, lambda file: file.rpartition("/")[2])
    return {row.path: (row.leaf.value, row.leaf.origin.text, row.leaf.origin.kind.value) for row in rows(shown)}


METERS = """\
adapters:
  meters:
    type: modbus
    url: tcp://10.0.0.5:502
    devices: {m1: {points: {v: {at: 'holding:0'}}}}
"""


def test_what_has_joined_by_discovery_says_so(tmp_path):
    joined = {"adapters": {"meters": {"devices": {"m2": {"unit": 2, "points": {"w": {"at": "holding:4"}}}}}}}
    found = found_in(tmp_path, METERS, additions={"modbus-identity tcp://10.0.0.5:502 2": joined})
    key = "discovery modbus-identity tcp://10.0.0.5:502 2"
    assert found["adapters.meters.devices.m2.unit"] == (2, key, "discovery")
    assert found["adapters.meters.devices.m2.points.w.at"] == ("holding:4", key, "discovery")
    assert found["adapters.meters.devices.m1.points.v.at"] == ("holding:0", "site.yaml:5:37", "file")
    assert found["adapters.meters.devices.m2.every"] == ("1s", "default", "default")


def test_an_alias_says_where_its_anchor_stands(tmp_path):
    adapter = "adapters:\n  a: {type: mqtt, url: &here 'mqtt://h', subscribe: [{topic: x, device: d}]}\n"
    text = adapter + "uplinks: {u: {type: mqtt, url: *here}}\n"
    found = found_in(tmp_path, text)
    assert found["uplinks.u.url"][1] == found["adapters.a.url"][1] == "site.yaml:2:24"


def test_a_default_behind_a_variable_names_the_variable(tmp_path):
    text = "max_points: ${POINTS:-77}\nlog: {level: '${LEVEL}'}\n"
    found = found_in(tmp_path, text, {"LEVEL": "debug"})
    assert found["max_points"] == (77, "variable POINTS (site.yaml:1:13)", "variable")
    assert found["log.level"] == ("debug", "variable LEVEL (site.yaml:2:14)", "variable")


def test_a_password_in_a_url_is_hidden():
    assert without_login("http://anna:tOpsEcret@h:1/x") == f"http://anna:{HIDDEN}@h:1/x"
    for plain in ("http://h:1/x@y:z", "mqtt://h", 5, None):
        assert without_login(plain) == plain
    assert is_secret_key("headers", "Authorization")
    assert not is_secret_key("headers", "X-Site")
    assert not is_secret_key("texts", "token"), "only where users choose the keys"


def test_globs_of_paths():
    for glob, path, fits in (
        ("store", "store.spool.max_size", True),
        ("store", "storeroom", False),
        ("uplinks.*.url", "uplinks.cloud.url", True),
        ("uplinks.*.url", "uplinks.cloud.auth.url", False),
        ("**.url", "adapters.a.devices.d.url", True),
        ("pipelines.p.steps", "pipelines.p.steps[0].window.every", True),
        ("pipelines.?.to", "pipelines.p.to[1]", True),
    ):
        assert path_filter(glob)(path) is fits, (glob, path)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"]), max_size=40))
def test_a_text_is_quoted_so_that_it_reads_as_itself(text):
    tree, problems = parse(f"key: {scalar(text)}\n", "x.yaml")
    assert not problems
    node = Expander({}).node(tree.entries["key"].value)
    assert isinstance(node, Scalar)
    assert not node.failed
    assert node.text == text
    assert node.expanded or resolve(node) == text


def test_credentials_that_are_missing_have_a_stand_in(tmp_path):
    (tmp_path / "there").write_text("real")
    expander = LenientExpander({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    path = tmp_path / "site.yaml"
    path.write_text(
        "uplinks: {u: {type: mqtt, url: 'mqtt://h', username: '${credential:there}', password: '${credential:x}'}}\n"
    )
    loaded = load_checked(path, {}, expander)
    assert list(expander.missing) == ["x"]
    assert loaded.config.uplinks["u"].username == "real"
