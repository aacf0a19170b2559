"""`virtyard console`: a link that opens the web console, once; or a token with which programs speak to the gateway."""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta

from virtyard.api.gateway.v1 import gateway_service_pb2
from virtyard_client.client import Client
from virtyard_client.command.options import ExitCode
from virtyard_client.command.usage import complain
from virtyard_client.context import Context, ContextError
from virtyard_client.errors import ClientError
from virtyard_client.render.json_line import text_of

_SERVICE = "virtyard.api.gateway.v1.GatewayService"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def main(argv: Sequence[str]) -> int:
    """Print a link that opens the web console, once, as who you are; or an API token for programs."""
    parser = argparse.ArgumentParser(prog="virtyard console", description=main.__doc__)
    parser.add_argument("--context", default="", help="where the services are; VIRTYARD_CONTEXT if not given")
    parser.add_argument(
        "--token", action="store_true", help="print an API token instead, for curl and for gRPC clients"
    )
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
        if not arguments.token:
            request = gateway_service_pb2.CreateLinkRequest()
            link = await client.call(_SERVICE, "CreateLink", request, gateway_service_pb2.Link)
            return text_of({"url": link.url}, "json") if arguments.json else str(link.url)
        asked = gateway_service_pb2.CreateApiTokenRequest(purpose=arguments.purpose)
        if arguments.lifetime:
            asked.lifetime.FromTimedelta(arguments.lifetime)
        made = await client.call(_SERVICE, "CreateApiToken", asked, gateway_service_pb2.ApiToken)
        if arguments.json:
            return text_of({"apiToken": made.api_token, "url": made.url}, "json")
        return str(made.api_token)


def _lifetime(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; it must be a number with s, m, h or d behind it")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


__all__ = ["main"]
