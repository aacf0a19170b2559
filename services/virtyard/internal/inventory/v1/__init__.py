"""Generated from protos/virtyard/internal/inventory/v1: change the protos and run `make protos`."""
