"""Generated from protos/virtyard/internal/agent: change the protos and run `make protos`."""
