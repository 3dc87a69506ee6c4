"""Explanation: what a model looked at, and which training images it found most alike."""
