"""Our side of comparisons that time a part of the work: each script is a process of its own and prints one JSON object."""
