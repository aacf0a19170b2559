"""Generated from protos/virtyard/api/gateway/v1: change the protos and run `make protos`."""
