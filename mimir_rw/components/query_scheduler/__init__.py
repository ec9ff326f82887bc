"""Queues queries, fairly among tenants, between query-frontends and queriers."""
