"""The agent of one physical server: it carries out effects on its host and keeps the ledger of them."""
