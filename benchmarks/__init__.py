"""Side-by-side measurements: every number is a ratio of two things timed in turn in one run."""
