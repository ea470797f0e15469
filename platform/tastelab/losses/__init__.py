"""Ranking losses and auxiliary terms of one impression's scores or one group's vectors.

Every module of this folder is imported here, so that a new file registers its components by being there.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
