"""Makes the judge of a study's rule of early stopping."""

from __future__ import annotations

from scaling_lab.study.extrapolation import Extrapolation
from scaling_lab.study.halving import Halving
from scaling_lab.study.search.curve_judge import CurveJudge
from scaling_lab.study.search.judge import Architectures, Judge, Values
from scaling_lab.study.search.rungs import RungJudge
from scaling_lab.study.study import Study


def make_judge(study: Study, values: Values, architecture: Architectures) -> Judge:
    """Return the judge; without Study.stopping all trials continue."""
    match study.stopping:
        case Halving():
            return RungJudge(study, study.stopping, values)
        case Extrapolation():
            return CurveJudge(study, study.stopping, values, architecture)
    return Judge(study, values)
