"""Generated from protos/virtyard/internal: change the protos and run `make protos`."""
