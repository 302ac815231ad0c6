"""From events to rows of tokens: tasks, prompts, mixtures, streams.

In: a corpus, identifiers and settings. Out: batches. This sub-room knows no model.
"""
