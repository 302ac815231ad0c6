"""What a single run cannot answer: cells that are trained or built, kept, and compared over seeds.

In: a workspace. Out: tables and figures under ``reports/``. This room fits nothing itself: the
stages do.
"""
