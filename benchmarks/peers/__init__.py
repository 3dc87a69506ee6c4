"""Peers: what a person would run instead, each a program of its own that prints one JSON object a line."""
