"""Drivers: what the actions of an agent use to touch the host, one folder per kind, one file per implementation."""
