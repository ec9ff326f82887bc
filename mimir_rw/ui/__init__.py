"""Static pages that `api/` serves."""
