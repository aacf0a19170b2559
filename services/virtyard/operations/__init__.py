"""Operation types: one file each, pure, from a request and a view of the inventory to a plan."""
