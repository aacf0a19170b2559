"""Numbered migrations of the tables that every database has: meta, feed and journal."""
