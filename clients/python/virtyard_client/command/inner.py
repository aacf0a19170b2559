"""Inner requests: the request that another one holds, given as the words of its own command in one piece of text.

`virtyard trigger create look --event-filter "type = SERVER_ONLINE" --request "server refresh {event.object}"`
"""

from __future__ import annotations

import shlex

from google.protobuf.any_pb2 import Any as AnyMessage

from virtyard_client.command.flags import flags_of
from virtyard_client.command.parse import Parser
from virtyard_client.command.request import build
from virtyard_client.command.usage import UsageError
from virtyard_client.command.values import BadValueError, Reader
from virtyard_client.command.verbs import Verbs
from virtyard_client.schema.own import OPERATION
from virtyard_client.schema.schema import Schema

_EXAMPLE = 'the words of a command that changes something, as "server refresh s1"'


def read_request(schema: Schema, text: str) -> AnyMessage:
    """Return the request that a command's words ask for.

    Raises:
        BadValueError: they are no command that changes something, or one of them is wrong.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadValueError(f"{_EXAMPLE}; {error} in {text!r}") from None
    verbs = Verbs(schema.methods())
    method = verbs.find(words[0], words[1]) if len(words) > 1 else None
    if method is None or method.response != OPERATION or method.verb == "run-now":
        raise BadValueError(f"{_EXAMPLE}, not {text!r}")
    flags = flags_of(schema, method.request)
    try:
        arguments = Parser(flags, (), Reader(schema)).parse(words[2:])
    except UsageError as error:
        raise BadValueError(f"{_EXAMPLE}; {method.noun} {method.verb}: {error}") from error
    packed = AnyMessage()
    packed.Pack(build(schema, method.request, flags, arguments.values))
    return packed
