"""The command line: each command turns options into one workflow call and prints its result."""
