"""Logs: one line an event, in both forms, with the facts that the task is bound to."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from virtyard.kernel.errors import InvalidRequest
from virtyard.runtime.logs import bound, configure_logs


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Put the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_lines_carry_bound_facts() -> None:
    """Operation and job are in every line within the block, and gone behind it."""
    stream = io.StringIO()
    configure_logs("jobs", form="json", stream=stream)
    log = logging.getLogger("x")
    with bound(operation="operations/7"):
        with bound(job="jobs/7-1"):
            log.info("step %s", "done")
        log.debug("not shown")
    log.warning("later")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["message"], first["operation"], first["job"]) == ("step done", "operations/7", "jobs/7-1")
    assert (first["service"], first["level"]) == ("jobs", "info")
    assert "operation" not in second


def test_text_lines_quote_what_needs_it() -> None:
    """Values with spaces are quoted, plain ones are not; an exception follows on its own lines."""
    stream = io.StringIO()
    configure_logs("jobs", stream=stream)
    with bound(job="jobs/7-1", title="Create Cluster"):
        try:
            int("broken")
        except ValueError:
            logging.getLogger("x").exception("step failed")
    head, *rest = stream.getvalue().splitlines()
    assert 'ERROR   step failed service=jobs logger=x job=jobs/7-1 title="Create Cluster"' in head
    assert rest[-1].startswith("ValueError: invalid literal")


def test_unknown_form_or_level_is_refused() -> None:
    """What is not known is refused with its name."""
    with pytest.raises(InvalidRequest):
        configure_logs("jobs", form="xml")
    with pytest.raises(InvalidRequest):
        configure_logs("jobs", level="loud")
