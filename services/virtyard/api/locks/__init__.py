"""Generated from protos/virtyard/api/locks: change the protos and run `make protos`."""
