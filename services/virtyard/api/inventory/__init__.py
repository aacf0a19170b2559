"""Generated from protos/virtyard/api/inventory: change the protos and run `make protos`."""
