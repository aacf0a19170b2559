"""Generated from protos/virtyard/api/inventory/v1: change the protos and run `make protos`."""
