"""Benchmarks: each runs this project and a peer as whole commands in one process tree and prints the ratio of their times."""
