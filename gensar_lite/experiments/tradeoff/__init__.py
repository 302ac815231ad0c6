"""The trade-off study: does one model for search and recommendation lose anything, and to whom?

In: a run whose data and embeddings are built. Out: per system and seed the rank of every test
target, kept cell by cell; from these alone tables, tests, sentences and a page.
"""
