"""`virtyard console`: a link that opens the web console, once; tokens for programs; and who may come in."""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, timedelta

from google.protobuf import json_format

from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard_client.client import Client
from virtyard_client.command.options import ExitCode
from virtyard_client.command.quantities import show_time
from virtyard_client.command.usage import complain
from virtyard_client.context import Context, ContextError
from virtyard_client.errors import ClientError
from virtyard_client.render.json_line import text_of
from virtyard_client.render.table import table

_SERVICE = "virtyard.api.gateway.v1.GatewayService"
_KINDS = {
    pb.GRANT_KIND_UNSPECIFIED: "unknown",
    pb.GRANT_KIND_LINK: "link",
    pb.GRANT_KIND_SESSION: "session",
    pb.GRANT_KIND_API_TOKEN: "token",
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def main(argv: Sequence[str]) -> int:
    """Print a link that opens the web console, once, as who you are; or see to what else lets people in."""
    parser = argparse.ArgumentParser(prog="virtyard console", description=main.__doc__)
    parser.add_argument("--context", default="", help="where the services are; VIRTYARD_CONTEXT if not given")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--token", action="store_true", help="print an API token instead, for curl and gRPC clients")
    instead.add_argument("--list", action="store_true", help="list the links, sessions and tokens that are good")
    instead.add_argument("--revoke", metavar="ID", help="take one back at once; a session is signed out by it")
    parser.add_argument(
        "--for", dest="lifetime", type=_lifetime, help="how long the token is good, as 12h or 30d [30d]"
    )
    parser.add_argument("--purpose", default="", help="what the token is for, in your words")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    if not arguments.token and (arguments.lifetime or arguments.purpose):
        parser.error("--for and --purpose are for --token")
    try:
        print(asyncio.run(_ask(arguments)))
    except ContextError as error:
        complain(str(error), json=arguments.json)
        return ExitCode.UNREACHABLE
    except ClientError as error:
        complain(str(error), json=arguments.json)
        return ExitCode.UNREACHABLE if error.code == "UNAVAILABLE" else ExitCode.FAILED
    return ExitCode.SUCCEEDED


async def _ask(arguments: argparse.Namespace) -> str:
    async with Client.connect(Context.load(arguments.context or None)) as client:
        if arguments.list:
            return await _list(client, json=arguments.json)
        if arguments.revoke is not None:
            return await _revoke(client, arguments.revoke, json=arguments.json)
        if arguments.token:
            return await _make_token(client, arguments)
        link = await client.call(_SERVICE, "CreateLink", pb.CreateLinkRequest(), pb.Link)
        return text_of({"url": link.url}, "json") if arguments.json else str(link.url)


async def _make_token(client: Client, arguments: argparse.Namespace) -> str:
    asked = pb.CreateApiTokenRequest(purpose=arguments.purpose)
    if arguments.lifetime:
        asked.lifetime.FromTimedelta(arguments.lifetime)
    made = await client.call(_SERVICE, "CreateApiToken", asked, pb.ApiToken)
    if arguments.json:
        return text_of({"apiToken": made.api_token, "url": made.url}, "json")
    return str(made.api_token)


async def _list(client: Client, *, json: bool) -> str:
    answer = await client.call(_SERVICE, "ListGrants", pb.ListGrantsRequest(), pb.ListGrantsResponse)
    if json:
        return text_of(json_format.MessageToDict(answer), "json")
    if not answer.grants:
        return "no link, session or API token is good"
    rows = [[grant.id, _KINDS[grant.kind], grant.principal, *_times(grant), grant.purpose] for grant in answer.grants]
    lines = table(["ID", "KIND", "PERSON", "MADE", "ENDS", "PURPOSE"], rows, None)
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


async def _revoke(client: Client, grant_id: str, *, json: bool) -> str:
    gone = await client.call(_SERVICE, "RevokeGrant", pb.RevokeGrantRequest(id=grant_id), pb.Grant)
    if json:
        return text_of(json_format.MessageToDict(gone), "json")
    return f"{gone.id}: the {_KINDS[gone.kind]} of {gone.principal} is good no more"


def _times(grant: pb.Grant) -> tuple[str, str]:
    made = show_time(grant.create_time.ToDatetime(UTC)) if grant.HasField("create_time") else ""
    return made, show_time(grant.expire_time.ToDatetime(UTC))


def _lifetime(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; it must be a number with s, m, h or d behind it")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


__all__ = ["main"]
