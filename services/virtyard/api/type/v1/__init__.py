"""Generated from protos/virtyard/api/type/v1: change the protos and run `make protos`."""
