"""Actions: what a host can do, one file per message of `virtyard.api.actions.v1`."""
