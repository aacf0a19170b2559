"""Generated from protos/virtyard/api/locks/v1: change the protos and run `make protos`."""
