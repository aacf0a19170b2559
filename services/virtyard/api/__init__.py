"""Generated from protos/virtyard/api: change the protos and run `make protos`."""
