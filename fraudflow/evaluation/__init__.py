"""What rules and model would have decided on a history: the flow's own operators over a file."""
