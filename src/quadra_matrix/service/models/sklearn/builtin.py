"""The data sets that ship with scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn import datasets

from quadra_matrix.service.models.request import BuiltIn
from quadra_matrix.service.models.tables import fingerprint
from quadra_matrix.service.models.values import Column, Table
from quadra_matrix.store.models import Kind

LOADERS = {
    "breast_cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
}


def builtin_table(wanted: BuiltIn) -> Table:
    """Return the table of a built-in data set; the column ``target`` holds the names of the classes."""
    bunch = LOADERS[wanted.name]()
    names = [str(name) for name in bunch.feature_names]
    features = [Column(name, Kind.NUMBER, bunch.data[:, i].astype(np.float64)) for i, name in enumerate(names)]
    if "target_names" in bunch:
        target = Column("target", Kind.CATEGORY, np.array(bunch.target_names, dtype=object)[bunch.target])
    else:
        target = Column("target", Kind.NUMBER, bunch.target.astype(np.float64))
    columns = (*features, target)
    return Table(wanted.name, fingerprint(columns), columns, len(bunch.target))
