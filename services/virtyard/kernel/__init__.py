"""Vocabulary and pure rules of Virtyard: no input or output, no waiting, no gRPC."""
