"""Groups of processes on one machine, and the gateway in front of them."""
