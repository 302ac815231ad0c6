"""A user's own files: found, read, checked, counted.

In: paths and settings. Out: tables and a report of what was fixed, dropped and warned of. This sub-room knows no split.
"""
