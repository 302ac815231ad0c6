"""The built-in shop: a generated catalogue and log whose truth is known.

In: settings and a seed. Out: tables. This sub-room reads no file of a user.
"""
