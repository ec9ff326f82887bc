"""The memberlist protocol over TCP and a key-value store gossiped with it, wire-compatible with dskit's."""
