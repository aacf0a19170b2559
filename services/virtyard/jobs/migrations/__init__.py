"""The numbered migrations of `jobs.db`."""
