"""The processes: what `virtyard up`, `serve` and `pki` start; each builds its parts and hands them in."""
