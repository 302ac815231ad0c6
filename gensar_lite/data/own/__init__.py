"""A user's own files: found, read, checked, counted.

In: paths and settings. Out: tables and a report of what was fixed, dropped and warned of. The road:
files.py (the order of the steps) - reading.py (by a file's kind) - filetext.py (bytes, text) -
separated.py with quoting.py, typed.py (cells as text) - columns.py (which column is which field) -
rules.py, event_rules.py with times.py and suspicions.py (what may stay). It knows no split.
"""
