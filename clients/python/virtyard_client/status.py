"""`virtyard status`: what answers, what there is, and what is going on, on one screen."""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any

from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard_client.client import Client
from virtyard_client.command.options import ExitCode
from virtyard_client.command.request import message_class
from virtyard_client.command.usage import complain
from virtyard_client.context import Context, ContextError
from virtyard_client.errors import ClientError
from virtyard_client.render.json_line import text_of
from virtyard_client.run.unreachable import in_words
from virtyard_client.schema.model import Field, Kind, Method
from virtyard_client.schema.own import own_schema
from virtyard_client.schema.schema import Schema

_SECONDS = 5.0
_INVENTORY = "virtyard.api.inventory.v1.InventoryService"


def main(argv: Sequence[str]) -> int:
    """Show what answers, what there is and what is going on."""
    parser = argparse.ArgumentParser(prog="virtyard status", description=main.__doc__)
    parser.add_argument("--context", default="", help="where the services are; VIRTYARD_CONTEXT if not given")
    parser.add_argument("--output", choices=("table", "json", "yaml"), default="table", help="form of the answer")
    parser.add_argument("--json", action="store_true", help="the same as --output json")
    arguments = parser.parse_args(argv)
    form = "json" if arguments.json else arguments.output
    try:
        found = asyncio.run(_look(Context.load(arguments.context or None)))
    except ContextError as error:
        complain(str(error), json=form != "table")
        return ExitCode.UNREACHABLE
    if form == "table":
        _print(found)
    else:
        print(text_of(found, form))
    return ExitCode.SUCCEEDED if all(not error for error in found["services"].values()) else ExitCode.UNREACHABLE


async def _look(context: Context) -> dict[str, Any]:
    services: dict[str, str] = {}
    found: dict[str, Any] = {"services": services, "objects": {}, "jobs": {}, "locks": {}}

    async def ask(service: str, asked: Awaitable[dict[str, Any]], part: str) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                found[part] = await asked
            services.setdefault(service, "")
        except ClientError as error:
            services[service] = str(in_words(error, context))
        except (ContextError, TimeoutError) as error:
            services[service] = str(error) or f"it did not answer within {_SECONDS:g} s"

    async with Client.connect(context) as client:
        await asyncio.gather(
            ask("inventory", _objects(client), "objects"),
            ask("jobs", _jobs(client), "jobs"),
            ask("locks", _locks(client), "locks"),
        )
    return found


async def _objects(client: Client) -> dict[str, Any]:
    """Return how many objects of each kind are in which state."""
    schema = own_schema()
    lists = [method for method in schema.methods() if method.service == _INVENTORY and method.verb == "list"]
    lists = [method for method in lists if method.noun != "event"]
    counts = await asyncio.gather(*(_count(client, schema, method) for method in lists))
    return {method.noun: dict(count) for method, count in zip(lists, counts, strict=True) if count}


async def _count(client: Client, schema: Schema, method: Method) -> Counter[str]:
    request: Any = message_class(schema, method.request)(page_size=1000)
    response = message_class(schema, method.response)
    items = next(
        field for field in schema.message(method.response).fields if field.repeated and field.kind is Kind.MESSAGE
    )
    state: Field | None = schema.message(items.type_name).field("state")
    counted: Counter[str] = Counter()
    while True:
        page = await client.call(method.service, method.name, request, response)
        for item in getattr(page, items.name):
            counted[schema.enum(state.type_name).short(item.state) if state is not None else "there"] += 1
        if not page.next_page_token:
            return counted
        request.page_token = page.next_page_token


async def _jobs(client: Client) -> dict[str, Any]:
    summary = await client.jobs.GetJobSummary(job_service_pb2.GetJobSummaryRequest())
    return {field.name: value for field, value in summary.ListFields() if isinstance(value, int)}


async def _locks(client: Client) -> dict[str, Any]:
    counted = {"held": 0, "waiting": 0}
    request = lock_service_pb2.ListLocksRequest(page_size=1000)
    while True:
        page = await client.locks.ListLocks(request)
        for lock in page.locks:
            counted["waiting" if lock.waiting else "held"] += 1
        if not page.next_page_token:
            return counted
        request.page_token = page.next_page_token


def _print(found: dict[str, Any]) -> None:
    for service, error in sorted(found["services"].items()):
        print(f"{service:<18} {'answers' if not error else f'cannot be reached: {error}'}")
    for noun, states in sorted(found["objects"].items()):
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        print(f"{noun:<18} {sum(states.values())}: {told}")
    print(f"{'jobs':<18} {_told(found['jobs'])}")
    print(f"{'locks':<18} {_told(found['locks'])}")


def _told(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) or "none"


__all__ = ["main"]
