"""Virtyard: a virtualisation manager whose every change is an operation split into jobs, under locks, on real hosts."""
