"""Measurements. Two ways to do the same are timed in turn in one run, and what counts is their ratio.

Seconds, milliseconds, GiB and rates beside ratios, or alone, are those of one machine, which the record names.
"""
