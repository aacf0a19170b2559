"""An operation that another package adds to Virtyard: its messages, how it is planned, and what an agent does."""
