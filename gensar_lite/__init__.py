"""gensar_lite: unified generative search and recommendation, one room per stage.

Imports point left: config <- machine <- metrics, drawing <- artifacts <- notebook, data <-
embeddings <- identifiers <- training <- decoding <- evaluation <- pipeline <- experiments <-
lessons, doctor <- verbs <- __main__.
"""

import os

__version__ = "0.1.0"

# threads that wait for each other sleep instead of keeping a core busy; torch's thread pools read
# this once, when torch is imported. What the user has set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")
