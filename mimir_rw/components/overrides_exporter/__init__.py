"""Shows the limits of tenants as metrics."""
