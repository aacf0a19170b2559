"""Generated from protos/virtyard/api/operations: change the protos and run `make protos`."""
