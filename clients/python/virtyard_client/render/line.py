"""A line of output: spans of text with a style, cut to a width; the screen decides if styles become colours."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Some text in one style."""

    text: str
    """The text, without line ends."""
    style: str = ""
    """A style of rich, as bold or green; empty for none."""


Line = Sequence[Span]


def plain(line: Line) -> str:
    """The line without its styles and without blanks at its end."""
    return "".join(span.text for span in line).rstrip()


def line(text: str, style: str = "") -> Line:
    """A line in one style."""
    return (Span(text, style),)


def fit(spans: Iterable[Span], width: int, ellipsis: str = "…") -> Line:
    """The line, cut so that it takes no more than `width` columns."""
    cut: list[Span] = []
    room = width
    for span in spans:
        if len(span.text) <= room:
            cut.append(span)
            room -= len(span.text)
            continue
        cut.append(Span(shorten(span.text, room, ellipsis), span.style))
        break
    return tuple(cut)


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """The text, cut to `width` columns with an ellipsis."""
    if len(text) <= width:
        return text
    return text[: max(width - len(ellipsis), 0)] + ellipsis[: max(width, 0)]


def wrap(text: str, width: int, *, indent: str = "", style: str = "") -> list[Line]:
    """A paragraph as lines of at most `width` columns, all indented alike."""
    wrapped = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)
    return [line(part, style) for part in wrapped]
