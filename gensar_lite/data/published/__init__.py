"""Readers of published data sets, in the format of their publishers.

In: downloaded files. Out: tables. This sub-room knows no split and no task mixture.
"""
