"""Rivals of the generative model: learned systems for both tasks that have no identifiers.

In: a run whose data and embeddings stand. Out: `Scorer` objects of one catalogue, by `fit_rival`:
``unisar`` (one softmax over items for both tasks), ``dense-tuned`` and ``dense-personal`` (search
by text vectors). What they are compared in is not known here.
"""

from gensar_lite.experiments.rivals.fitting import RIVALS, fit_rival

__all__ = ["RIVALS", "fit_rival"]
