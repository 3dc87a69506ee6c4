"""Health: what is wrong with a data set, found by arithmetic on arrays."""
