"""Generated from protos/virtyard/api/actions: change the protos and run `make protos`."""
