"""mimir-rw: a horizontally scalable, multi-tenant, long-term store for Prometheus metrics in read-write mode."""
