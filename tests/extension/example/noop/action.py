"""Doing nothing on a host, for a while."""

from __future__ import annotations

import asyncio

from example.noop.v1 import pass_pb2

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome

_BEAT = 100


async def do(message: pass_pb2.Pass, context: Context) -> Outcome:
    """Do nothing, and say how far it is."""
    wanted = 0 if context.undoing else message.hold_milliseconds
    held = 0
    while held < wanted:
        context.progress(held, wanted, "Doing nothing")
        pause = min(_BEAT, wanted - held)
        await asyncio.sleep(pause / 1000)
        held += pause
    return Outcome(result=pass_pb2.PassResult(held_milliseconds=held))


ACTION = Action(message=pass_pb2.Pass, lane=Lane.HOST, do=do, probe=do)
