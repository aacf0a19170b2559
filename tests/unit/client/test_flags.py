"""Flags: how a request message is spelt on the command line."""

from __future__ import annotations

from virtyard_client.command.flags import flags_of
from virtyard_client.command.request import build
from virtyard_client.schema.schema import Schema

OPERATIONS = "virtyard.api.operations.v1"


def _names(schema: Schema, request: str, *, advanced: bool = False) -> list[str]:
    return [flag.shown for flag in flags_of(schema, f"{OPERATIONS}.{request}") if flag.advanced is advanced]


def test_resource_of_the_request_is_flattened(schema: Schema) -> None:
    """Fields of the machine and of its boot source are plain flags; what the server sets is none."""
    assert _names(schema, "CreateVirtualMachineRequest") == [
        "VIRTUAL-MACHINE-ID",
        "--display-name",
        "--label",
        "--description",
        "--server-pool",
        "--memory",
        "--cpus",
        "--kernel",
        "--initrd",
        "--kernel-arguments",
        "--boot-order",
        "--cdrom",
        "--restart-policy",
        "--disk",
        "--vnic",
        "--preview",
    ]


def test_advanced_flags_are_folded(schema: Schema) -> None:
    """What most people never set is marked, message by message."""
    assert _names(schema, "CreateVirtualMachineRequest", advanced=True) == [
        "--request-id",
        "--reason",
        "--priority",
        "--deadline",
        "--on-failure",
        "--under",
    ]


def test_second_resource_keeps_its_name_in_front(schema: Schema) -> None:
    """The heartbeat device comes beside the pool that is made, so its flags say so, without the unit."""
    names = _names(schema, "CreateServerPoolRequest")
    assert "--clustered" in names
    assert "--server" in names
    assert "--heartbeat-device-path" in names
    assert "--heartbeat-device-io-timeout" in names


def test_object_that_is_changed_is_named_by_place_with_what_may_change(schema: Schema) -> None:
    """An update offers the fields that its proto calls settable, and the etag among the advanced ones."""
    wanted = ["NAME", "--display-name", "--label", "--description", "--preview"]
    assert _names(schema, "UpdateVirtualMachineRequest") == wanted
    assert _names(schema, "UpdateVirtualMachineRequest", advanced=True)[:2] == ["--etag", "--update-mask"]


def test_update_names_in_its_mask_what_was_given(schema: Schema) -> None:
    """An empty value takes the field's content away; a mask that was given stays as it is."""
    request = f"{OPERATIONS}.UpdateServerRequest"
    flags = flags_of(schema, request)
    name, text, mask = ("server", "name"), ("server", "description"), ("update_mask",)
    built = build(schema, request, flags, {name: "servers/a", text: ""})
    assert list(built.update_mask.paths) == ["description"]  # type: ignore[attr-defined]  # a class made at run time
    built = build(schema, request, flags, {name: "servers/a", text: "x", mask: ["*"]})
    assert list(built.update_mask.paths) == ["*"]  # type: ignore[attr-defined]  # a class made at run time


def test_repeated_message_has_keys(schema: Schema) -> None:
    """A disk is one flag whose items have keys."""
    flags = {flag.name: flag for flag in flags_of(schema, f"{OPERATIONS}.CreateVirtualMachineRequest")}
    assert [(key.name, key.required) for key in flags["disk"].keys] == [
        ("id", False),
        ("repository", True),
        ("size", False),
        ("allocation", False),
        ("image", False),
    ]


def test_required_fields_are_required_flags(schema: Schema) -> None:
    """REQUIRED of the proto is required on the command line, by place or by name."""
    flags = flags_of(schema, f"{OPERATIONS}.CreateServerPoolRequest")
    assert [flag.shown for flag in flags if flag.required] == ["SERVER-POOL-ID", "--server"]


def test_every_verb_has_flags_of_distinct_names(schema: Schema) -> None:
    """No request spells two fields alike, and every flag has a comment."""
    for method in schema.methods():
        flags = flags_of(schema, method.request)
        assert len({flag.name for flag in flags}) == len(flags), method.full_name
        for flag in flags:
            assert flag.field.comment, (method.full_name, flag.name)
