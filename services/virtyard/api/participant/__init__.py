"""Generated from protos/virtyard/api/participant: change the protos and run `make protos`."""
