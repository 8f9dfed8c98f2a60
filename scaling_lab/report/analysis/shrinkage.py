"""The AP that selected each finalist, beside the AP of its fresh seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.report.analysis.frontier import Frontier

if TYPE_CHECKING:
    pass


def shrinkage(fresh: Frontier, frontier: Frontier) -> pd.DataFrame:
    """Return the finalists by their fresh seeds, best first, with ap_search, n_search, shrinkage and role.

    ap_search is the mean AP that selected a finalist and n_search its seeds; shrinkage is ap_search minus the fresh mean.
    They are nan if the search has no complete trial.
    """
    searched = frontier.architectures.set_index("architecture")
    roles = dict(zip(fresh.trials["architecture"], fresh.trials["role"], strict=True))
    table = fresh.architectures.copy()
    for name, column in (("ap_search", "ap_mean"), ("n_search", "n")):
        table[name] = searched[column].reindex(table["architecture"]).to_numpy(dtype=float)
    table["shrinkage"] = table["ap_search"] - table["ap_mean"]
    table["role"] = [roles[digest] for digest in table["architecture"]]
    return table
