"""Our own networks, a page each, and the table of every network by name."""
