"""Rewrites of a parsed expression before evaluation, one per file, and the gathering of its selects.

A rewrite takes an expression and returns an equivalent one; it reads no data.
"""
