"""Object storage: a small contract and its back-ends."""
