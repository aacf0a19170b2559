"""The numbered migrations of `inventory.db`."""
