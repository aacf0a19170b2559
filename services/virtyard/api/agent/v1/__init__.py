"""Generated from protos/virtyard/api/agent/v1: change the protos and run `make protos`."""
