"""Real servers for tests, each started on free loopback ports in a temporary folder and stopped by its own process id."""
