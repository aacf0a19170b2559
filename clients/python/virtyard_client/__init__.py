"""Virtyard's client: the Python SDK and the `virtyard` command line, built on the public API alone."""
