"""The demo's voice: what it says, the commands that it runs before everybody's eyes, and the checks that it counts.

A command is the public `virtyard`; on a terminal it draws its own live tree, in a pipe it prints plain lines.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools import demo_look
from tools.demo_site import PROGRAM, DemoError, Site

WIDTH = 80


class Screen:
    """Says what happens, and keeps the count of what was checked."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.checks = 0
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def scene(self, title: str) -> Iterator[None]:
        """Announce a part of the demo, and take its time."""
        print(f"\n{len(self.times) + 1}. {title}\n", flush=True)
        began = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - began))

    def say(self, text: str) -> None:
        """Say something, wrapped to the width of the demo."""
        print(textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False), flush=True)

    def check(self, fact: str, holds: bool, otherwise: str = "") -> None:
        """Say a fact that was looked at.

        Raises:
            DemoError: it is not so.
        """
        if not holds:
            raise DemoError(f"not so: {fact}" + (f"\n  {otherwise}" if otherwise else ""))
        self.checks += 1
        print(textwrap.fill(fact, WIDTH, initial_indent="   ok  ", subsequent_indent="       "), flush=True)

    def command(self, *words: str) -> None:
        """Run a command that must succeed for everybody to see.

        Raises:
            DemoError: it did not.
        """
        self.command_ending(words, (0,))

    def command_ending(self, words: tuple[str, ...], codes: Collection[int]) -> int:
        """Run a command for everybody to see, and return its exit code.

        Raises:
            DemoError: its exit code is none of these.
        """
        print(wrapped(words), flush=True)
        outcome = self._run(words, subprocess.Popen([PROGRAM, *words], env=self._site.environment()))
        if outcome not in codes:
            wanted = " or ".join(map(str, codes))
            raise DemoError(f"virtyard {shlex.join(words)}: exit code {outcome} instead of {wanted}")
        return outcome

    def submit(self, *words: str) -> str:
        """Run a command with --no-wait for everybody to see, and return the name of the operation."""
        print(wrapped((*words, "--no-wait")), flush=True)
        name = str(self.read(*words, "--no-wait")[0]["name"])
        print(name, flush=True)
        return name

    def read(self, *words: str) -> list[dict[str, Any]]:
        """Run a command quietly and return the JSON objects that it prints.

        Raises:
            DemoError: it failed; its own words are in the message.
        """
        return [json.loads(line) for line in self._lines([PROGRAM, *words, "--json"])]

    def read_all(self, commands: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Run several commands quietly, in one process, and return the JSON objects that each of them prints.

        Raises:
            DemoError: one of them failed; its own words are in the message.
        """
        found: list[list[dict[str, Any]]] = [[]]
        for line in self._lines([sys.executable, "-m", "tools.demo_look", *commands]):
            if line == demo_look.END:
                found.append([])
            else:
                found[-1].append(json.loads(line))
        return found[:-1]

    def _lines(self, command: Sequence[str]) -> list[str]:
        outcome = subprocess.run(
            command,
            cwd=Path(__file__).resolve().parents[1],
            env=self._site.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if outcome.returncode:
            raise DemoError(f"{shlex.join(command)}: {(outcome.stderr or outcome.stdout).strip()}")
        return outcome.stdout.splitlines()

    def list_objects(self, noun: str) -> list[dict[str, Any]]:
        """Return the objects of a noun."""
        return self.read(noun, "list")

    def frames(self, operation: str) -> Iterator[dict[str, Any]]:
        """Watch an operation and yield what comes, until it has ended or the caller has seen enough."""
        watching = subprocess.Popen(
            [PROGRAM, "operation", "watch", operation, "--json"],
            env=self._site.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        with watching:
            assert watching.stdout is not None
            try:
                for line in watching.stdout:
                    yield json.loads(line)
            finally:
                watching.terminate()

    @staticmethod
    def _run(words: tuple[str, ...], process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(120)
        except subprocess.TimeoutExpired:
            raise DemoError(f"virtyard {shlex.join(words)} has not ended after 120 s") from None
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def wrapped(words: tuple[str, ...]) -> str:
    """Return a command line as a person would type it, a flag never parted from its value."""
    parts: list[str] = []
    for word in words:
        if parts and (not parts[-1].startswith("--") or " " in parts[-1] or word.startswith("--")):
            parts.append(shlex.quote(word))
        elif parts:
            parts[-1] += " " + shlex.quote(word)
        else:
            parts.append(word)
    lines, line = [], "$ virtyard"
    for part in parts:
        if len(line) + len(part) + 3 > WIDTH and part.startswith("--"):
            lines.append(line + " \\")
            line = "     "
        line += " " + part
    return "\n".join([*lines, line])
