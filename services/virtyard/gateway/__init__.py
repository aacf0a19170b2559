"""The gateway: one front door for browsers, curl and native gRPC, and for the web console's files and displays."""
