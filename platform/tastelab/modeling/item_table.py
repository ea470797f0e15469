"""A trainable table with a row per item, or per word, whose gradient names the rows that a batch used.

Shape letters: N rows of the table, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding


class Table(nn.Module):
    """Rows looked up by number; the gradient is sparse, so that a step costs what it touches, not what there is.

    DDP and dense optimisers refuse sparse gradients: `training.sparse` and `training.optim` know these tables by their
    class.
    """

    def __init__(self, rows_ND: Tensor) -> None:
        """Start with the given rows."""
        super().__init__()
        self.rows_ND = nn.Parameter(rows_ND)

    @staticmethod
    def zeros(num_rows: int, width: int) -> Table:
        """Make a table of zeros."""
        return Table(torch.zeros(num_rows, width))

    def forward(self, rows: Tensor) -> Tensor:
        """Look up rows of any shape: (…, D)."""
        return embedding(rows, self.rows_ND, sparse=True)


def named_tables(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the rows of every table of a module, by the name that the parameter has in it."""
    tables = {id(part.rows_ND) for part in module.modules() if isinstance(part, Table)}
    return {name: parameter for name, parameter in module.named_parameters() if id(parameter) in tables}
