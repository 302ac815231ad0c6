"""What every figure shares: fonts for the letters of any script.

In: names. Out: what a figure can draw. This room knows no result.
"""
