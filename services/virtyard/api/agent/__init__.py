"""Generated from protos/virtyard/api/agent: change the protos and run `make protos`."""
