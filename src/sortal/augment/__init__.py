"""Augmentation, engine-neutral: where the random draws come from."""
