"""gensar_lite: unified generative search and recommendation, one room per stage.

Imports point left: config <- artifacts <- notebook, data <- embeddings <- identifiers <- training
<- decoding <- evaluation <- pipeline <- __main__.
"""

__version__ = "0.1.0"
