"""Drivers of networks: how a host carries the networks of the inventory."""
