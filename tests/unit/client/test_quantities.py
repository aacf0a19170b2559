"""Quantities: what is read and shown, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtyard_client.command.quantities import (
    read_bytes,
    read_percent,
    read_seconds,
    read_time,
    show_bytes,
    show_seconds,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4G", 4 << 30),
        ("4g", 4 << 30),
        ("512MiB", 512 << 20),
        ("512 MiB", 512 << 20),
        ("1.5T", 3 << 39),
        ("4GB", 4_000_000_000),
        ("1024B", 1024),
        ("7K", 7168),
    ],
)
def test_sizes_are_read_as_bytes(text: str, size: int) -> None:
    """A bare letter and iB are binary, B behind a letter is decimal."""
    assert read_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "-4G", "4X", "4 G B", "1.5", "four", "4GG", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """The refusal says what a size looks like."""
    with pytest.raises(ValueError, match="512M, 4G"):
        read_bytes(text)


@given(st.integers(min_value=0, max_value=1 << 62))
def test_bytes_are_read_back_as_written(size: int) -> None:
    """A plain number of bytes is that number, however large."""
    assert read_bytes(str(size)) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", "10"),
        ("10s", "10"),
        ("2m", "120"),
        ("1h30m", "5400"),
        ("1.5s", "1.5"),
        ("250ms", "0.25"),
        ("1d", "86400"),
    ],
)
def test_spans_are_read_as_seconds(text: str, seconds: str) -> None:
    """Spans are numbers with units, one behind the other."""
    assert read_seconds(text) == Decimal(seconds)


@pytest.mark.parametrize("text", ["", "s", "-5s", "5 minutes", "1h30", "h1"])
def test_what_is_no_span_is_refused(text: str) -> None:
    """The refusal says what a span looks like."""
    with pytest.raises(ValueError, match="30s, 5m"):
        read_seconds(text)


def test_times_are_utc_or_relative() -> None:
    """A time without a zone is UTC; a plus counts from now."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert read_time("2030-01-31T18:00:00", lambda: now) == datetime(2030, 1, 31, 18, tzinfo=UTC)
    assert read_time("2030-01-31T18:00:00Z", lambda: now) == datetime(2030, 1, 31, 18, tzinfo=UTC)
    assert read_time("+2h", lambda: now) == datetime(2030, 1, 1, 2, tzinfo=UTC)
    with pytest.raises(ValueError, match="2030-01-31"):
        read_time("tomorrow", lambda: now)


def test_percent_ends_at_a_hundred() -> None:
    """Per cent is a number from 0 to 100, with or without its sign."""
    assert read_percent("40%") == read_percent("40") == 40.0
    with pytest.raises(ValueError, match="0 to 100"):
        read_percent("101")


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (1023, "1023 B"), (4 << 30, "4 GiB"), (3 << 39, "1.5 TiB"), (1 << 62, "4 EiB")]
)
def test_sizes_are_shown_short(size: int, shown: str) -> None:
    """A size has one unit and at most one digit behind the point."""
    assert show_bytes(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (1.24, "1.2 s"), (59.2, "59 s"), (200, "3 m 20 s"), (7500, "2 h 5 m")]
)
def test_spans_are_shown_in_two_units(seconds: float, shown: str) -> None:
    """A span shows no more than people read."""
    assert show_seconds(seconds) == shown
