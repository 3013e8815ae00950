import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.payloads.pointer import Path, format_pointer, parse_path, parse_pointer, resolve
from gateway.errors import PayloadError

# The document and the pointers of RFC 6901, section 5.
DOCUMENT = {
    "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", DOCUMENT), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2),
        ("/e^f", 3), ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8),
    ],
)  # fmt: skip
def test_the_examples_of_the_rfc(pointer, found):
    assert resolve(DOCUMENT, parse_pointer(pointer)) == found


def test_a_plain_key_is_a_member_of_the_document():
    assert parse_pointer("t") == ("t",)
    assert parse_pointer("/a.b") == ("a.b",)
    assert parse_pointer("$a") == ("$a",)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("$.a.b[0].c", Path(("a", "b", "0", "c"), root=True)), ("a.b", Path(("a", "b"))), ("$", Path((), root=True)),
        ("$['x y'][0]", Path(("x y", "0"), root=True)), ('["a.b"].c', Path(("a.b", "c"))), ("@.a", Path(("a",))),
        ("$.values[*]", Path(("values",), root=True, each=True)), ("[*]", Path((), each=True)), ("@", Path(())),
        ("a[*]", Path(("a",), each=True)), ("/a/0", Path(("a", "0"))), ("a", Path(("a",))),
    ],
)  # fmt: skip
def test_paths_as_jsonpath_writes_them(text, path):
    assert parse_path(text) == path


@pytest.mark.parametrize("text", ["a..b", "$.a[*].b", "a[", "a.b.", "$.a[-1]", "$..a", "$.a[0:2]", "$.*"])
def test_what_jsonpath_has_beyond_that_is_refused(text):
    with pytest.raises(ValueError, match="is not a path"):
        parse_path(text)


def test_many_values_are_no_pointer():
    with pytest.raises(ValueError, match="many values"):
        parse_pointer("$.a[*]")


def test_integer_keys_of_cbor_are_found_by_their_digits():
    assert resolve({1: {2: "x"}}, parse_pointer("/1/2")) == "x"


@pytest.mark.parametrize("pointer", ["/x", "/foo/2", "/foo/-", "/foo/01", "/foo/-1", "/foo/0/0", "/m~0n/x"])
def test_nothing_there_is_missing(pointer):
    with pytest.raises(PayloadError) as raised:
        resolve(DOCUMENT, parse_pointer(pointer))
    assert raised.value.reason == "missing"


@pytest.mark.parametrize("pointer", ["/a~", "/~2", "a~b"])
def test_a_tilde_that_escapes_nothing_is_refused(pointer):
    with pytest.raises(ValueError, match="JSON pointer"):
        parse_pointer(pointer)


@given(st.lists(st.text()))
def test_any_tokens_survive_being_written(tokens):
    assert parse_pointer(format_pointer(tuple(tokens))) == tuple(tokens)


@given(st.lists(st.text(), min_size=1), st.integers())
def test_any_path_of_members_is_found(tokens, leaf):
    document = leaf
    for token in reversed(tokens):
        document = {token: document}
    assert resolve(document, tuple(tokens)) == leaf
