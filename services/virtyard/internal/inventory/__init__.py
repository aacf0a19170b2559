"""Generated from protos/virtyard/internal/inventory: change the protos and run `make protos`."""
