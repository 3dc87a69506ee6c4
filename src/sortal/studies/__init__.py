"""Studies: rows of recipe changes, each trained for every seed, chosen between on validation images, shown test once."""

from sortal.studies.model import Study, read
from sortal.studies.rows import Row, rows_of

__all__ = ["Row", "Study", "read", "rows_of"]
