"""The burn-in: a mix of operations in parallel on a person's own pool, what it cost, and that nothing of it is left."""
