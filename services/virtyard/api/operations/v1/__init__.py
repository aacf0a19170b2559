"""Generated from protos/virtyard/api/operations/v1: change the protos and run `make protos`."""
