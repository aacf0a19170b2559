"""What people and scripts see: trees, tables, records, plans, errors, plain lines and JSON lines."""
