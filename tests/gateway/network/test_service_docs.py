"""Services that are shown: the shipped examples, the pages, the JSON Schema; the page of networks, walked through."""

import json
import socket
from contextlib import ExitStack

import jsonschema
import pytest
import yaml

from gateway.network.chain import chain_of
from gateway.network.reading import read_service, service_of
from tests.support.documents import ROOT, blocks
from tests.support.walk import Walk, free_port

PAGES = ROOT / "docs" / "network"
EXAMPLES = sorted((ROOT / "configs" / "services").glob("*.yaml"))
BLOCKS = [block for page in sorted(PAGES.glob("*.md")) for block in blocks(page) if block.text.startswith("service:")]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_can_be_applied(path):
    read = read_service(path)
    assert read.config.service == path.stem
    assert read.warnings == []
    assert len(chain_of(read.config)) >= 1


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_services_on_pages_can_be_applied(block):
    assert service_of(block.text).warnings == []


def test_there_is_something_to_check():
    assert len(EXAMPLES) >= 4
    assert len(BLOCKS) >= 2


def test_the_schema_takes_the_examples_and_refuses_a_slip(onpath):
    code, out, _ = onpath("schema", "--service")
    schema = json.loads(out)
    assert (code, schema["title"]) == (0, "onpath service")
    validator = jsonschema.Draft202012Validator(schema)
    for path in EXAMPLES:
        service = yaml.safe_load(path.read_text())
        validator.validate(service)
        assert not validator.is_valid(service | {"inpts": {}})
        assert not validator.is_valid(service | {"place": {"window": ["edge"]}})


@pytest.mark.timeout(400)
def test_the_page_of_networks_as_its_reader_walks_it(tmp_path):
    with ExitStack() as stack:
        walk = Walk(tmp_path, stack, {"5020": free_port()})
        assert walk.page(PAGES / "index.md") >= 5
        with socket.socket() as probe:  # the walk has used its own port, not the one on the page
            assert probe.connect_ex(("127.0.0.1", 5020)) != 0
