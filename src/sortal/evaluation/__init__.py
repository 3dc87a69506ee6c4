"""Evaluation: scores, intervals and calibration as arithmetic on arrays of probabilities and labels."""
