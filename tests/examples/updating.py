"""The example of an update, the same for every kind of object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from tests.acceptance.site import Site
from tests.examples.contract import Bad, Example, nothing
from virtyard.operations.updating import object_field


def update(
    request: type[Message],
    name: str,
    *,
    prepare: Callable[[Site], Sequence[Message]] = nothing,
    clustered: bool = False,
) -> Example:
    """Return the example of an update of the labels of one object, with what every update refuses."""
    field = object_field(request).name

    def asked(**values: Any) -> Callable[[Site], Message]:
        def make(_: Site) -> Message:
            made = request()
            wanted = getattr(made, field)
            wanted.MergeFrom(type(wanted)(**{"name": name, **values}))
            return made

        return make

    words = request.DESCRIPTOR.name.removeprefix("Update").removesuffix("Request")
    spaced = "".join(f" {letter}" if letter.isupper() else letter for letter in words).strip()
    return Example(
        request=asked(labels={"rack": "7"}),
        titles=[f"Update {'VNIC' if words == 'Vnic' else spaced}"],
        prepare=prepare,
        bad=(
            Bad(request=asked(labels={"A b": ""}), reason="INVALID_REQUEST", field=f"{field}.labels"),
            Bad(request=asked(display_name=" "), reason="INVALID_REQUEST", field=f"{field}.display_name"),
            Bad(request=asked(name=name + "x", description="x"), reason="NOT_FOUND", field=f"{field}.name"),
            Bad(request=asked(), reason="INVALID_REQUEST", field="update_mask"),
            Bad(request=asked(description="x", etag="old"), reason="ETAG_MISMATCH", field=f"{field}.etag"),
        ),
        clustered=clustered,
    )
