"""Replicated keys: compare-and-swap stores in memory, over gossip, over etcd and consul."""
