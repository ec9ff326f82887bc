"""Serves the blocks of the bucket to queriers."""
