"""Every setting of the project: declared once, checked where it enters.

In: a preset's name and changes. Out: a `Config`, one section per stage; a stage's function receives
its own section, never the tree. Sections can be built directly, too: then nothing is checked.
"""

from gensar_lite.config.declare import ConfigError, one_of
from gensar_lite.config.rules import MIN_SHOP_EVENTS, VALID_PAIRS, check_pairs
from gensar_lite.config.sections import (
    Config,
    DataConfig,
    DecodingConfig,
    EmbeddingsConfig,
    EvaluationConfig,
    IdentifiersConfig,
    TrainingConfig,
)
from gensar_lite.config.tree import (
    OWN_FILES,
    PRESETS,
    STAGES,
    as_of_today,
    changed_settings,
    flat,
    for_own_files,
    gone,
    overlay,
    override,
    own_files,
    preset,
    section_dict,
)
