"""Feature names, and the windows that compute their values at each event."""
