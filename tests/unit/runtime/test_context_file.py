"""The context file: written whole, read back the same, and clear about what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtyard.kernel.errors import InvalidRequest, NotFound
from virtyard.runtime.context_file import Context, context_path


def test_context_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Addresses of services and agents, and the folders, survive the file."""
    context = Context(credentials="admin", authority="ca", domain="virtyard.test")
    context = context.with_service("jobs", "127.0.0.1:7").with_agent("s1", "127.0.0.1:8")
    path = tmp_path / "folder" / "context.json"
    context.write(path)
    assert Context.read(path) == context
    assert [file.name for file in path.parent.iterdir()] == ["context.json"]


def test_missing_and_broken_files_are_told_apart(tmp_path: Path) -> None:
    """No file is NOT_FOUND and asks whether Virtyard runs; another content is INVALID_REQUEST."""
    path = tmp_path / "context.json"
    with pytest.raises(NotFound, match="running"):
        Context.read(path)
    for content in ("{", "[]", '{"agents": 1}'):
        path.write_text(content)
        with pytest.raises(InvalidRequest):
            Context.read(path)


def test_unknown_address_says_what_is_known() -> None:
    """A service that the context does not have is refused with those it has."""
    context = Context().with_service("jobs", "127.0.0.1:7")
    assert context.service("jobs") == "127.0.0.1:7"
    with pytest.raises(NotFound, match="known are: jobs"):
        context.service("locks")


def test_context_path_follows_the_environment() -> None:
    """VIRTYARD_CONTEXT, else XDG_CONFIG_HOME, else ~/.config."""
    assert context_path({"VIRTYARD_CONTEXT": "/x/y.json"}) == Path("/x/y.json")
    assert context_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/virtyard/context.json")
    assert context_path({"HOME": "/h"}) == Path("/h/.config/virtyard/context.json")
