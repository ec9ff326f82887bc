"""Contracts across processes: for each a client that implements it over a peer, and what answers on the other side.

Headers hold a few small values by name; what is large or many travels as bytes.
"""
