"""The context file: written whole, read back the same, and clear about what is missing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from virtyard.kernel.errors import InvalidRequest, NotFound
from virtyard.runtime.context_file import Context, context_path
from virtyard_client.context import default_path


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


def test_context_path_follows_the_environment(tmp_path: Path) -> None:
    """VIRTYARD_CONTEXT, else XDG_CONFIG_HOME, else ~/.config."""
    assert context_path({"VIRTYARD_CONTEXT": "/x/y.json"}) == Path("/x/y.json")
    assert context_path({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "virtyard" / "context.json"
    assert context_path({"HOME": str(tmp_path)}) == tmp_path / ".config" / "virtyard" / "context.json"


def test_context_of_a_home_that_cannot_be_used_is_among_the_temporary_files(tmp_path: Path) -> None:
    """A container run as anybody has HOME=/ at best; a context that is there already is read all the same."""
    file = tmp_path / "file"
    file.touch()
    # The nearest parent of the home is a plain file, so nothing can be made there.
    assert (
        context_path({"HOME": str(file)}, user=1234)
        == Path(tempfile.gettempdir()) / "virtyard-1234" / "config" / "context.json"
    )


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HOME": "HERE"},
        {"HOME": "HERE/file"},
        {"XDG_CONFIG_HOME": "HERE"},
        {"XDG_CONFIG_HOME": "~nobody-of-this-name/x", "HOME": "HERE"},
    ],
    ids=["none", "home", "no folder", "xdg", "unknown xdg"],
)
def test_client_looks_where_the_services_write(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides have the rule of their own, and it is the same."""
    (tmp_path / "file").touch()
    for name in ("VIRTYARD_CONTEXT", "HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value.replace("HERE", str(tmp_path)))
    assert default_path() == context_path(os.environ)
