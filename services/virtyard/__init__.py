"""Virtyard: a virtualisation manager whose every change is an operation split into jobs, under locks, on real hosts."""

import os
import sys

# gRPC's fork handlers run in every child that uvloop starts, write into our TLS connections and corrupt them (seen with
# grpcio 1.85.1: BAD_DECRYPT within 300 children). gRPC reads this when it is imported; `runtime.loop` looks whether it
# was in time.
if "grpc" not in sys.modules:
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
