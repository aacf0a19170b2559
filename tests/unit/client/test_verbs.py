"""The verbs of the command line as a whole."""

from __future__ import annotations

from collections import defaultdict

from virtyard_client.schema.own import own_schema


def test_everything_that_can_be_listed_can_be_watched() -> None:
    """Objects of every kind, operations, jobs and locks; events come with their own feed."""
    verbs = defaultdict(set)
    for method in own_schema().methods():
        verbs[method.noun].add(method.verb)
    listed = {noun for noun, known in verbs.items() if "list" in known}
    assert {"server", "virtual-machine", "network", "operation", "job", "lock"} <= listed
    assert not {noun for noun in listed if "watch" not in verbs[noun]} - {"event"}
