"""The tutorial, walked through as it stands in docs/tutorial.md, on free ports."""

import json
from contextlib import ExitStack

import pytest

from tests.support.documents import ROOT
from tests.support.walk import Walk, free_port

PAGE = ROOT / "docs" / "tutorial.md"


@pytest.mark.timeout(400)
def test_the_tutorial_works(tmp_path):
    with ExitStack() as stack:
        here = {port: free_port() for port in ("5020", "1884", "8321")}
        walk = Walk(tmp_path, stack, here)
        assert walk.page(PAGE) > 10
        status = json.loads(walk.type("onpath status -c site --json"))
        check_status(status)
    batches = [json.loads(line) for line in (tmp_path / "received.jsonl").read_text().splitlines()]
    samples = [sample for batch in batches for sample in batch["samples"]]
    # of single values only what was news; of windows each
    assert {"m1/power#count", "kitchen/power#count"} <= {sample["point"] for sample in samples}
    ids = [(batch["epoch"], batch["seq"]) for batch in batches]
    assert len(ids) == len(set(ids))


def check_status(status):
    """It is healthy, and has no key that docs/operations.md does not name."""
    assert status["adapters"]["meters"]["devices"]["kitchen"]["link"] == "up"
    assert status["uplinks"]["cloud"]["spool"]["lost"] == 0
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [key for key in status if f"`{key}`" not in text] == []
