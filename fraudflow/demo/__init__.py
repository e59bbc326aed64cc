"""The demo: an embedded broker, real and simulated transactions, the production flow, and a look at it all."""
