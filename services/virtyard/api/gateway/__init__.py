"""Generated from protos/virtyard/api/gateway: change the protos and run `make protos`."""
