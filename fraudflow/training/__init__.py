"""A first model from a history: the flow's own operators learn from a file what a flow can begin with."""
