"""GatewayService: what the front door itself can do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.gateway.forward import EXPIRES, GRANT, Forward
from virtyard.gateway.machines import Machines
from virtyard.gateway.public import PublicMethod
from virtyard.gateway.sessions import API, LINK, SESSION, Grant, Sessions
from virtyard.gateway.source import watches_by_request
from virtyard.gateway.watch import MultiplexedWatch
from virtyard.kernel.errors import InvalidRequest, WrongState
from virtyard.runtime.call import Call
from virtyard.runtime.status import errors_named, peer_cancels_named

__all__ = ["GatewayRpc"]

_USUAL_LIFETIME = timedelta(days=30)
_LONGEST_LIFETIME = timedelta(days=366)


class GatewayRpc:
    """Serves the gateway's own rpcs, to browsers and to people with certificates."""

    def __init__(
        self,
        methods: Mapping[str, PublicMethod],
        forward: Forward,
        sessions: Sessions,
        machines: Machines,
        *,
        keepalive: float,
    ) -> None:
        """Serve by these parts.

        Args:
            methods: the public methods, by path.
            forward: calls them.
            sessions: makes links and API tokens.
            machines: reaches the consoles of machines.
            keepalive: seconds of silence after which a watcher is shown that its stream is alive.
        """
        self.address = ""
        """host:port of the front door, once it is open."""
        self._watches = watches_by_request(methods)
        self._forward = forward
        self._sessions = sessions
        self._machines = machines
        self._keepalive = keepalive
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Have every watch end with Goodbye."""
        self._closing.set()

    async def Watch(self, request: pb.WatchRequest, call: Call) -> AsyncIterator[bytes]:
        """Watch many things."""
        watch = MultiplexedWatch(request, self._watches, self._forward, call.principal, keepalive=self._keepalive)
        async for response in watch.responses(self._closing):
            yield response

    async def ReadSerialLog(
        self, request: pb.ReadSerialLogRequest, call: Call
    ) -> AsyncIterator[pb.ReadSerialLogResponse]:
        """Read what a machine writes to its serial line."""
        pieces = self._machines.serial_log(
            request.virtual_machine, request.offset_bytes, call.principal, follow=request.follow
        )
        with errors_named(), peer_cancels_named():
            async for piece in pieces:
                yield pb.ReadSerialLogResponse(data=piece.data, next_offset_bytes=piece.next_offset_bytes)

    async def GetSession(self, request: pb.GetSessionRequest, call: Call) -> pb.Session:
        """Say who calls."""
        roles = [Role.ValueType(role) for role in sorted(call.principal.roles)]
        session = pb.Session(principal=call.principal.identity, roles=roles)
        session.grant_id = str(call.metadata.get(GRANT, ""))
        if EXPIRES in call.metadata:
            session.expire_time.FromNanoseconds(round(float(call.metadata[EXPIRES]) * 1e9))
        return session

    async def CreateLink(self, request: pb.CreateLinkRequest, call: Call) -> pb.Link:
        """Make a link for the caller."""
        secret, grant = self._sessions.make_link(call.principal)
        return pb.Link(url=self.link_of(secret), expire_time=_time(grant.expire_time))

    async def CreateApiToken(self, request: pb.CreateApiTokenRequest, call: Call) -> pb.ApiToken:
        """Make an API token for the caller."""
        lifetime = request.lifetime.ToTimedelta() if request.HasField("lifetime") else _USUAL_LIFETIME
        if not timedelta(0) < lifetime <= _LONGEST_LIFETIME:
            raise InvalidRequest.of("lifetime", f"must be more than nothing and at most {_LONGEST_LIFETIME.days} days")
        secret, grant = self._sessions.make_api_token(call.principal, request.purpose, lifetime)
        return pb.ApiToken(api_token=secret, expire_time=_time(grant.expire_time), url=self.url)

    async def ListGrants(self, request: pb.ListGrantsRequest, call: Call) -> pb.ListGrantsResponse:
        """List what lets the caller in, or anybody."""
        return pb.ListGrantsResponse(grants=map(_shown, self._sessions.grants_for(call.principal)))

    async def RevokeGrant(self, request: pb.RevokeGrantRequest, call: Call) -> pb.Grant:
        """Take a grant back."""
        return _shown(self._sessions.revoke(request.id, call.principal))

    def link_of(self, secret: str) -> str:
        """Return the link that has this secret."""
        return f"{self.url}/?token={secret}"

    @property
    def url(self) -> str:
        """Return the address of the front door.

        Raises:
            WrongState: it is not open.
        """
        if not self.address:
            raise WrongState("the gateway has no front door open; `gateway.web` says where it is to be")
        return f"http://{self.address}"


_KINDS = {
    LINK: pb.GRANT_KIND_LINK,
    SESSION: pb.GRANT_KIND_SESSION,
    API: pb.GRANT_KIND_API_TOKEN,
}


def _shown(grant: Grant) -> pb.Grant:
    shown = pb.Grant(
        id=grant.id,
        kind=_KINDS[grant.kind],
        principal=grant.principal.identity,
        purpose=grant.purpose,
        expire_time=_time(grant.expire_time),
    )
    if grant.create_time is not None:
        shown.create_time.CopyFrom(_time(grant.create_time))
    return shown


def _time(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
