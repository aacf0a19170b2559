"""Update Heartbeat Device: its labels; see `updating`."""

from __future__ import annotations

from tests.examples.updating import update
from virtyard.api.operations.v1 import update_heartbeat_device_pb2

EXAMPLE = update(update_heartbeat_device_pb2.UpdateHeartbeatDeviceRequest, "heartbeatDevices/pool", clustered=True)
