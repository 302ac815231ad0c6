"""What depends on the computer: number formats, threads, memory, processes, and runs of numbers without a loop.

In: settings and arrays. Out: the same work, done as this machine does it best. This room knows no item and no model.
"""
