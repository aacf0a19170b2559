"""Generated from protos/virtyard/api/jobs: change the protos and run `make protos`."""
