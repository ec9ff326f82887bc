"""Holder of recent data: a head and its log per tenant, limits, queries over what is in memory."""
