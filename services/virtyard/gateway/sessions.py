"""Sessions: who is let in at the front door, by one-time links, by the cookies that they become, and by API tokens.

The place of sign-in: until people sign in by themselves, a link that somebody with a certificate makes does it for
them. Only digests of secrets are kept, in one file, so that a restart of the gateway signs nobody out and a copy of the
file signs nobody in.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import CapacityExhausted, NotFound, PermissionDenied, Unauthenticated
from virtyard.kernel.permissions import Principal, role_from, role_name
from virtyard.runtime.durable_file import read_record, write_record

__all__ = ["API", "LINK", "LINK_LIFETIME", "MOST_GRANTS", "SESSION", "SESSION_LIFETIME", "Ending", "Grant", "Sessions"]

LINK_LIFETIME: Final = timedelta(hours=1)
"""For how long a link may be opened."""
SESSION_LIFETIME: Final = timedelta(hours=12)
"""For how long a browser stays signed in: a working day."""
MOST_GRANTS: Final = 1000
"""So many links, sessions and API tokens of one kind may be good at once."""

LINK: Final = "link"
"""The kind of a link that nobody has opened yet."""
SESSION: Final = "session"
"""The kind of a browser that is signed in."""
API: Final = "api"
"""The kind of a token that programs show."""
_BYTES = 32
_ID_DIGITS = 16
_LOOK = 1.0
"""Seconds between two looks at which grants have become void by time."""
_TAKEN_BACK: Final = "this session or API token has been taken back; `virtyard console` makes another"
_EXPIRED: Final = "this session or API token has reached its end; `virtyard console` makes another"


class Ending:
    """Whether a grant is good no more, and what is to end with it at once."""

    def __init__(self) -> None:
        """It is good."""
        self._why = ""
        self._told: set[Callable[[], object]] = set()

    @property
    def is_over(self) -> bool:
        """Return whether the grant has been taken back or has become void by time."""
        return bool(self._why)

    @property
    def error(self) -> Unauthenticated:
        """Return what those are told whose call or stream has ended with the grant."""
        return Unauthenticated(self._why)

    @contextmanager
    def telling(self, callback: Callable[[], object]) -> Iterator[None]:
        """Have a function called when the grant ends, while the block lasts; at once if it has ended already."""
        self._told.add(callback)
        try:
            # It may have ended since the caller was let in: a request's body is read in between.
            if self.is_over:
                callback()
            yield
        finally:
            self._told.discard(callback)

    def end(self, why: str) -> None:
        """End everything that runs under the grant, for a reason that is told."""
        self._why = why
        for callback in tuple(self._told):
            callback()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a secret lets its bearer be."""

    kind: str
    """`LINK`, `SESSION` or `API`."""
    principal: Principal
    """Who its bearer is to the services."""
    expire_time: datetime
    """When it is void."""
    purpose: str = ""
    """What an API token was made for."""
    id: str = ""
    """By which it is taken back; from the digest of its secret, so nobody comes in by it."""
    create_time: datetime | None = None
    """When it was made; None if that was not kept."""
    ending: Ending = field(default_factory=Ending, compare=False, repr=False)
    """Whether it has ended; calls, streams and WebSockets that run under it end with it."""


class Sessions:
    """Every grant that is good, by the digest of its secret."""

    def __init__(self, file: Path, clock: Clock) -> None:
        """Read what the gateway before has kept.

        Args:
            file: where the digests are kept; its folder is made if it is missing.
            clock: says when grants are void.

        Raises:
            DataLoss: the file is no record.
        """
        self._file = file
        self._clock = clock
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = read_record(file) or {}
        self._grants = {digest: _grant_of(digest, row) for digest, row in known.items()}

    def make_link(self, principal: Principal) -> tuple[str, Grant]:
        """Return the secret of a link that signs its bearer in once, as this person.

        Raises:
            PermissionDenied: a service or an agent asks for it.
            CapacityExhausted: too many links are waiting to be opened.
        """
        return self._make(LINK, principal, LINK_LIFETIME)

    def make_api_token(self, principal: Principal, purpose: str, lifetime: timedelta) -> tuple[str, Grant]:
        """Return a secret that programs show with each call; see `make_link`."""
        return self._make(API, principal, lifetime, purpose)

    def open_link(self, secret: str) -> tuple[str, Grant]:
        """Swap the secret of a link for that of a session; the link is void from here on.

        Raises:
            Unauthenticated: it is none, was opened before, or has become too old.
            CapacityExhausted: too many are signed in; the link stays good.
        """
        link = self._find(secret, LINK)
        # Gone before the session is there: of two who open it at once only one comes in.
        del self._grants[_digest(secret)]
        try:
            return self._make(SESSION, link.principal, SESSION_LIFETIME)
        except CapacityExhausted:
            self._grants[_digest(secret)] = link
            raise

    def grants_for(self, principal: Principal) -> list[Grant]:
        """Return the good grants that a person may see, all for administrators; those first that end first."""
        now = self._clock.now()
        seen = [grant for grant in self._grants.values() if grant.expire_time > now and _may_see(principal, grant)]
        return sorted(seen, key=lambda grant: grant.expire_time)

    def revoke(self, grant_id: str, principal: Principal) -> Grant:
        """Take a grant back for somebody who may see it; everything that runs under it ends.

        Raises:
            NotFound: there is none of this id for this person.
        """
        for digest, grant in self._grants.items():
            if grant.id == grant_id and _may_see(principal, grant):
                del self._grants[digest]
                self._keep()
                grant.ending.end(_TAKEN_BACK)
                return grant
        raise NotFound(
            f"no link, session or API token {grant_id!r} is good; `virtyard console --list` shows those that are"
        )

    def end_expired(self) -> None:
        """Forget the grants that have become void by time, and end everything that runs under them."""
        now = self._clock.now()
        for digest in [digest for digest, grant in self._grants.items() if grant.expire_time <= now]:
            self._grants.pop(digest).ending.end(_EXPIRED)

    async def end_in_time(self) -> None:
        """Look for ever, each second, at which grants have become void by time."""
        while True:
            self.end_expired()
            await asyncio.sleep(_LOOK)

    def of_cookie(self, secret: str) -> Grant:
        """Return the session of a browser.

        Raises:
            Unauthenticated: there is none, or it has ended.
        """
        return self._find(secret, SESSION)

    def of_bearer(self, secret: str) -> Grant:
        """Return what an API token grants.

        Raises:
            Unauthenticated: there is none, or it has ended.
        """
        return self._find(secret, API)

    def _find(self, secret: str, kind: str) -> Grant:
        # By digest: how long the look-up takes says nothing about a secret that is almost right.
        grant = self._grants.get(_digest(secret))
        if grant is None or grant.kind != kind or grant.expire_time <= self._clock.now():
            raise Unauthenticated(_REFUSALS[kind])
        return grant

    def _make(self, kind: str, principal: Principal, lifetime: timedelta, purpose: str = "") -> tuple[str, Grant]:
        if principal.kind != "user":
            raise PermissionDenied(f"{principal.identity} cannot be signed in; people can")
        self.end_expired()
        if sum(grant.kind == kind for grant in self._grants.values()) >= MOST_GRANTS:
            raise CapacityExhausted(f"{MOST_GRANTS} of these are good already; wait until some have ended")
        secret, now = secrets.token_urlsafe(_BYTES), self._clock.now()
        digest = _digest(secret)
        grant = Grant(
            kind=kind,
            principal=principal,
            expire_time=now + lifetime,
            purpose=purpose,
            id=digest[:_ID_DIGITS],
            create_time=now,
        )
        self._grants[digest] = grant
        self._keep()
        return secret, grant

    def _keep(self) -> None:
        write_record(self._file, {digest: _row_of(grant) for digest, grant in self._grants.items()})


_REFUSALS: Mapping[str, str] = {
    LINK: "this link was opened before, or is too old; `virtyard console` makes another",
    SESSION: "nobody is signed in here, or no longer; `virtyard console` makes a link that signs you in",
    API: "the API token is unknown or too old; `virtyard console --token` makes another",
}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _row_of(grant: Grant) -> Mapping[str, Any]:
    return {
        "kind": grant.kind,
        "user": grant.principal.name,
        "roles": _names(grant.principal.roles),
        "expire": grant.expire_time.timestamp(),
        "purpose": grant.purpose,
        "create": grant.create_time.timestamp() if grant.create_time is not None else None,
    }


def _names(roles: Iterable[int]) -> list[str]:
    return sorted(map(role_name, roles))


def _may_see(principal: Principal, grant: Grant) -> bool:
    return Role.ROLE_ADMINISTRATOR in principal.roles or grant.principal.identity == principal.identity


def _grant_of(digest: str, row: Mapping[str, Any]) -> Grant:
    # Files of older releases do not say when a grant was made.
    created = row.get("create")
    roles = frozenset(role for role in map(role_from, row["roles"]) if role is not None)
    return Grant(
        kind=str(row["kind"]),
        principal=Principal(kind="user", name=str(row["user"]), roles=roles),
        expire_time=datetime.fromtimestamp(float(row["expire"]), UTC),
        purpose=str(row["purpose"]),
        id=digest[:_ID_DIGITS],
        create_time=datetime.fromtimestamp(float(created), UTC) if created is not None else None,
    )
