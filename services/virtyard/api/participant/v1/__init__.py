"""Generated from protos/virtyard/api/participant/v1: change the protos and run `make protos`."""
