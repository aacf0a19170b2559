"""Generated from protos/virtyard/api/jobs/v1: change the protos and run `make protos`."""
