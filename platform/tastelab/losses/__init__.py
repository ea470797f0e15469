"""What is minimised: ranking losses and auxiliary terms; contrastive losses of candidate generation and their queues.

A ranking loss is of one impression's scores, an auxiliary term of one impression or one group's vectors
(`base`, `objective`); a loss of candidate generation is of the clicks of a whole global batch (`contrast`).

Every module of this folder is imported here, so that a new file registers its components by being there.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
