"""Generated from protos/virtyard/internal/jobs: change the protos and run `make protos`."""
