"""What is settled: the lowest number of an operation that is open, and the lowest token that it can have (P18).

Kept in memory in the order of the commits. A number is open from the commit that made it to the one that ended it.
Where the outcome of a commit is not known, the floor stays where it is until the database was asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

__all__ = ["Settled"]


class Settled:
    """Knows which operations are open; told of every commit, after it and in its order."""

    def __init__(self) -> None:
        """Begin with nothing known, so that nothing is forgotten anywhere."""
        self.on_ended: Callable[[], None] = lambda: None
        """Is called after each operation that has ended."""
        self._open: OrderedDict[int, int] = OrderedDict()
        self._last = 0
        self._highest_token = 0
        self._known = False
        self._below = 0
        self._tokens_below = 0

    @property
    def below(self) -> int:
        """Return the lowest number of an operation that is or will be open; 0 while that is not known."""
        self._look()
        return self._below

    @property
    def tokens_below(self) -> int:
        """Return the lowest token that an operation can have that is or will be open."""
        self._look()
        return self._tokens_below

    @property
    def next_number(self) -> int:
        """Return a number that is above that of every operation so far."""
        return self._last + 1

    @property
    def in_doubt(self) -> bool:
        """Whether the database must be asked which operations are open."""
        return not self._known

    def recall(self, numbers: Iterable[int], last: int) -> None:
        """Take what the database says: the open operations, lowest first, and the highest number of any."""
        # What tokens they have is not known, so none is taken to be settled while one of them is open.
        self._open = OrderedDict((number, self._open.get(number, 0)) for number in numbers)
        self._last = max(self._last, last)
        self._known = True

    def doubt(self) -> None:
        """Note that the outcome of a commit is not known."""
        self._known = False

    def opened(self, number: int) -> None:
        """Note an operation that is durable now; its tokens will be higher than all that were granted before it."""
        if number not in self._open:
            self._open[number] = self._highest_token + 1
        self._last = max(self._last, number)

    def granted(self, token: int) -> None:
        """Note a token that an operation holds."""
        self._highest_token = max(self._highest_token, token)

    def ended(self, number: int) -> None:
        """Note that an operation has ended."""
        self._open.pop(number, None)
        self.on_ended()

    def _look(self) -> None:
        if not self._known:
            return
        lowest = next(iter(self._open.items()), (self._last + 1, self._highest_token + 1))
        self._below = max(self._below, lowest[0])
        self._tokens_below = max(self._tokens_below, lowest[1])
