"""Heartbeat drivers: who of a cluster is alive, by slots on shared storage."""
