"""`fraudflow run`: the flow in as many processes as there are cores, kept running."""
