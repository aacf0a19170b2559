"""Generated from protos/virtyard/api/actions/v1: change the protos and run `make protos`."""
