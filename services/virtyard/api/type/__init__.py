"""Generated from protos/virtyard/api/type: change the protos and run `make protos`."""
