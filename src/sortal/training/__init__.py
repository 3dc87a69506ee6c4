"""Training: the one loop, its schedules and its checkpoints, for every engine."""
