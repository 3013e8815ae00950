"""The console's texts: the same in both languages, none missing and none left over; and what its page loads exists."""

import json
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[3] / "gateway" / "console" / "static"
LANGUAGES = ("en", "zh")
SCRIPTS = {path: path.read_text() for path in STATIC.rglob("*.js") if "vendor" not in path.parts}
NAME = re.compile(r"""(["'`])([a-z_]+)\.([a-z][\w-]*)\1""")
NAMES = {"about.python"}
COMPOSED = re.compile(r"`([a-z_]+)\.([a-z][\w-]*_)\$\{")
WORD = re.compile(r"""\bword\(\s*["'](\w+)["']""")


def texts(language: str) -> dict[str, str | dict[str, str]]:
    """Every text of a language by its name, ``file.key``."""
    files = (STATIC / "i18n" / language).glob("*.json")
    return {f"{file.stem}.{key}": text for file in files for key, text in json.loads(file.read_text()).items()}


def used() -> tuple[set[str], tuple[str, ...]]:
    """Names that the scripts write out, and the beginnings of those that they compose."""
    known = {path.stem for path in (STATIC / "i18n" / "en").glob("*.json")}
    names: set[str] = set()
    begins: set[str] = set()
    for script in SCRIPTS.values():
        names |= {f"{file}.{key}" for _, file, key in NAME.findall(script) if file in known and key != "csv"}
        begins |= {f"{file}.{key}" for file, key in COMPOSED.findall(script)}
        begins |= {f"words.{kind}_" for kind in WORD.findall(script)}
    return names, tuple(begins)


def places(text: str | dict[str, str]) -> set[str]:
    forms = text.values() if isinstance(text, dict) else [text]
    return {place for form in forms for place in re.findall(r"\{(\w+)\}", form)}


def test_both_languages_have_the_same_texts_with_the_same_places():
    one, other = (texts(language) for language in LANGUAGES)
    assert set(one) == set(other)
    assert {name: places(text) for name, text in one.items()} == {name: places(text) for name, text in other.items()}


def test_every_text_that_is_used_exists():
    names, _ = used()
    assert names - set(texts("en")) == set()


def test_every_text_is_used():
    names, begins = used()
    assert [name for name in texts("en") if name not in names and not name.startswith(begins)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_plural_forms_are_whole(language):
    for name, text in texts(language).items():
        if isinstance(text, dict):
            assert set(text) == ({"one", "other"} if language == "en" else {"other"}), name


def test_chinese_is_chinese():
    same = [name for name, text in texts("zh").items() if text == texts("en")[name]]
    assert [name for name in same if re.search(r"[a-z]{4,}", str(texts("zh")[name])) and name not in NAMES] == []


def test_scripts_and_styles_that_are_named_exist():
    for path, script in SCRIPTS.items():
        for target in re.findall(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""", script):
            assert (path.parent / target).is_file(), f"{path.name}: {target}"
    page = (STATIC / "index.html").read_text()
    for target in re.findall(r'(?:href|src)="/static/([^"]+)"', page):
        assert (STATIC / target).is_file(), target


def test_nothing_is_loaded_from_elsewhere():
    for path in STATIC.rglob("*"):
        if path.suffix in {".js", ".css", ".html", ".svg"} and "vendor" not in path.parts:
            found = re.findall(r"https?://[\w.]+|url\((?!data:)[^)]*\)", path.read_text())
            assert [one for one in found if one != "http://www.w3.org"] == [], path.name


def test_no_inline_style_or_script():
    """The content security policy forbids both: an element would silently look wrong."""
    for path, script in SCRIPTS.items():
        assert not re.search(r"""[{,]\s*style:\s*[`"']|innerHTML|insertAdjacentHTML|\beval\(""", script), path.name
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*src=)([^>]*)>", page) == [' type="importmap"']
    assert "style=" not in page
