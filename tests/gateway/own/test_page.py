"""docs/metrics.md says what the registry says."""

from tests.support.metrics_table import PAGE, written


def test_the_table_of_the_page_is_that_of_the_registry():
    page = PAGE.read_text()
    assert page == written(page), "write it anew: python -m tests.support.metrics_table"
    assert page.count("| `onpath_") > 60
