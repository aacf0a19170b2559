"""Lists: page tokens that belong to their list, page sizes, and the six counters."""

from __future__ import annotations

import pytest

from virtyard.jobs.listing import decode_page, encode_page, page_size_of, summarise
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.job_states import JobState


def test_a_page_token_gives_its_place_back() -> None:
    """Whatever the filter's text is."""
    text = 'title = "A\u00e4 b" AND state = RUNNING'
    assert decode_page(encode_page(text, 12, 3), text, 2) == (12, 3)


def test_an_empty_token_is_the_newest_place() -> None:
    """The first page begins after no operation."""
    assert decode_page("", "", 1)[0] > 10**15


@pytest.mark.parametrize("token", ["x", "!!", encode_page("other", 12, 3), encode_page("", 12), "AAAA"])
def test_a_token_of_another_list_is_refused(token: str) -> None:
    """A token is bound to its filter and to its list."""
    with pytest.raises(InvalidRequest) as refused:
        decode_page(token, "", 2)
    assert refused.value.violations[0].field == "page_token"


def test_page_sizes_are_bounded() -> None:
    """Zero is the usual size, too much is cut, less than zero is refused."""
    assert (page_size_of(0), page_size_of(7), page_size_of(10**6)) == (100, 7, 1000)
    with pytest.raises(InvalidRequest):
        page_size_of(-1)


def test_every_state_is_in_one_counter() -> None:
    """The five parts sum up to the total."""
    summary = summarise({int(state): 1 for state in JobState})
    parts = (summary.pending, summary.in_progress, summary.failed, summary.aborted, summary.complete)
    assert summary.total == sum(parts) == len(JobState)
