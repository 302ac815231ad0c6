"""What depends on the computer: number format, threads, memory, processes, console, disk.

In: settings and arrays. Out: the same work, done as this machine does it best; files that are whole
or absent. This room knows no item and no model.
"""
