"""Real servers for tests, on free loopback ports and in temporary folders, stopped by their own process ids."""
