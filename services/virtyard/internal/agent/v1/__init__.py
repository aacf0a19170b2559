"""Generated from protos/virtyard/internal/agent/v1: change the protos and run `make protos`."""
