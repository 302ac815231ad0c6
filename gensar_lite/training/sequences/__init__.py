"""From events to rows of tokens: tasks, prompts, mixtures, events.

In: a corpus, identifiers and settings. Out: batches. This sub-room knows no model.
"""
