"""Stage identifiers: a semantic and a collaborative code sequence per item, with a common prefix.

Verb: `identify`. In: `ItemEmbeddings`. Out: `Identifiers`, unique in each view.
"""

from gensar_lite.identifiers.assignment import make_unique
from gensar_lite.identifiers.fitted import assign, load_quantizer
from gensar_lite.identifiers.measures import codebook_usage, collision_rate, prefix_purity
from gensar_lite.identifiers.quantizer import dual_quantize, residual_quantize
from gensar_lite.identifiers.stage import build_identifiers, identify
from gensar_lite.identifiers.tokens import TokenLayout, layout_for

__all__ = [
    "TokenLayout",
    "assign",
    "build_identifiers",
    "codebook_usage",
    "collision_rate",
    "dual_quantize",
    "identify",
    "layout_for",
    "load_quantizer",
    "make_unique",
    "prefix_purity",
    "residual_quantize",
]
