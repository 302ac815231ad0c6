"""What every figure shares: colours, fonts for the letters of any script, figures without pyplot.

In: names. Out: what a figure can draw. This room knows no result.
"""
