"""Our side of comparisons that time a part of the work: each script is a process of its own and prints one JSON object."""

# As every command of ours has it: before torch is imported, threads are told how to wait.
import sortal.engines.torch as sortal_in_torch  # noqa: F401 - imported for what it sets
