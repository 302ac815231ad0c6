"""The training loop: steps, losses, checkpoints that resume exactly, progress and trackers.

In: a model and batches. Out: the trained model. This sub-room knows no file format of the corpus.
"""
