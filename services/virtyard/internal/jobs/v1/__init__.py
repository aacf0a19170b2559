"""Generated from protos/virtyard/internal/jobs/v1: change the protos and run `make protos`."""
