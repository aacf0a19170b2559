"""Update Cluster: its labels; see `updating`."""

from __future__ import annotations

from tests.examples.updating import update
from virtyard.api.operations.v1 import update_cluster_pb2

EXAMPLE = update(update_cluster_pb2.UpdateClusterRequest, "clusters/pool", clustered=True)
