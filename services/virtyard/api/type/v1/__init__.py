"""Generated from the protos; never edited."""
