"""Takes queries from clients, has them answered by queriers, and writes the answers."""
