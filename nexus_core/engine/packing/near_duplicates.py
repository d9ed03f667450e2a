"""Near duplicates: which passages repeat one another, by the triples of stems they share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint32]
