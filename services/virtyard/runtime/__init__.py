"""The outside as the services meet it: database, feeds, gRPC, TLS, telemetry, clock and folders."""
