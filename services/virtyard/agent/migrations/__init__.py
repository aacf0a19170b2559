"""Migrations of ledger.db, in the order of their numbers."""
