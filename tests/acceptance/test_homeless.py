"""Commands run by somebody without a home or an account, as `docker run --user 12345` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.acceptance.site import PROGRAM, until

NOBODY = 54321
"""A user id that no account has."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that anybody can write, for temporary files."""
    with tempfile.TemporaryDirectory(prefix="vyh-", dir="/tmp") as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


def environment(place: Path, **more: str) -> dict[str, str]:
    """Return an environment in which nothing says where home is."""
    return {"PATH": os.environ["PATH"], "TMPDIR": str(place), **more}


def as_nobody() -> Sequence[str]:
    """Return what runs a command as somebody without an account; skip where that cannot be."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("running as another user needs root and setpriv")
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def run(words: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(words, env=environ, cwd="/", capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("home", [{}, {"HOME": "/"}, {"HOME": "/nonexistent"}], ids=["none", "root", "missing"])
def test_every_command_works_without_an_account(place: Path, home: dict[str, str]) -> None:
    """Help is shown, and a verb says which context file it misses, in a place that this user can write."""
    environ = environment(place, **home)
    for command in ("up", "serve", "agent", "pki"):
        helped = run([*as_nobody(), PROGRAM, command, "--help"], environ)
        assert (helped.returncode, helped.stderr) == (0, ""), helped.stderr
    listed = run([*as_nobody(), PROGRAM, "vm", "list"], environ)
    assert listed.returncode == 5
    assert str(place / f"virtyard-{NOBODY}" / "config" / "context.json") in listed.stderr.replace("\n", "")
    assert "Traceback" not in listed.stderr


def test_a_site_comes_up_and_is_found_without_an_account(place: Path) -> None:
    """`virtyard up` with no flag at all, and a client that finds it with none."""
    environ = environment(place, HOME="/")
    with (place / "log").open("w") as log:
        up = subprocess.Popen([*as_nobody(), PROGRAM, "up"], env=environ, cwd="/", stdout=log, stderr=subprocess.STDOUT)
    try:
        until(lambda: "is up on" in (place / "log").read_text() or up.poll() is not None, 40, "the site is up")
        status = run([*as_nobody(), PROGRAM, "server", "list", "--json"], environ)
        assert status.returncode == 0, status.stderr + (place / "log").read_text()
    finally:
        up.terminate()
        assert up.wait(20) == 0


def test_a_context_of_somebody_else_is_not_believed(place: Path) -> None:
    """A folder that another user has made in this one's place is refused, not read."""
    words = as_nobody()
    (place / f"virtyard-{NOBODY}" / "config").mkdir(parents=True)
    (place / f"virtyard-{NOBODY}" / "config" / "context.json").write_text('{"credentials": "x"}')
    listed = run([*words, PROGRAM, "vm", "list"], environment(place))
    assert listed.returncode == 5
    assert "belongs to somebody else" in listed.stderr.replace("\n", " ")
