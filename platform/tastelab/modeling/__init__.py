"""Rankers: encoders, what of them is trained, item pooling, scorers, one file per architecture. And retrievers.

A retriever is two towers (`candidates`): one of items (`item_tower`), one of users (`histories`, a file `user_*` each).

Every module of this folder is imported here, so that a new file registers its components by being there.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
