"""How an ingester leaves for good without a query missing a sample (docs/hand-over.md)."""
