"""Options of every channel and server: sizes, silence, and what must not come from the environment."""

from __future__ import annotations

from typing import Final

from virtyard.runtime.call import MAX_MESSAGE_BYTES

__all__ = ["CHANNEL_OPTIONS", "SERVER_OPTIONS"]

_BOTH: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Details of an error travel as metadata; a refusal that lists every server needs room.
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

_PATIENCE_SECONDS: Final = 24 * 3600

SERVER_OPTIONS: Final = (
    *_BOTH,
    # What has waited for the event loop for longer is ended as if its caller had cancelled it. A busy process takes one
    # call in a turn of its loop, so the default of 30 s is met; how long an answer is worth waiting for, callers know.
    ("grpc.server_max_unrequested_time_in_server", _PATIENCE_SECONDS),
    # A second process on our port must fail, not share it.
    ("grpc.so_reuseport", 0),
    # Our own clients ping every 20 s, and the default of 300 s would send them away for it: `too_many_pings`. gRPC
    # passes over an option whose name it does not know, so a test looks for each name in its library.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 5),
)

CHANNEL_OPTIONS: Final = (
    *_BOTH,
    ("grpc.enable_http_proxy", 0),
    # Without it a stalled reader lets the server buffer 20,000 messages; with it 459 (measured).
    ("grpc.http2.bdp_probe", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 0),
)
