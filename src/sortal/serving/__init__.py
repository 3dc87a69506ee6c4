"""Serving: bundles behind HTTP, within limits that hold whoever asks."""
