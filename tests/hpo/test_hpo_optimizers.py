"""Every optimizer that is listed, and compositions, under the laws."""

from tests.hpo.laws import CASES, LearnerLaws, NewnessLaws, OptimizerLaws, build, test_cases_are_what_they_say  # noqa: F401
from tests.hpo.objectives import SPACES

for _name in CASES:
    _title = "".join(part.capitalize() for part in _name.replace(")", "").split("("))
    globals()[f"Test{_title}"] = type(f"Test{_title}", (OptimizerLaws,), {"name": _name})

for _name, _jobs in (("gp", {}), ("asha(gp)", {}), ("median(gp)", {"jobs": 40})):
    _title = "".join(part.capitalize() for part in _name.replace(")", "").split("("))
    globals()[f"TestLearner{_title}"] = type(f"TestLearner{_title}", (LearnerLaws,), {"name": _name, **_jobs})

for _name in [*CASES, "freezethaw(gp)"]:
    _optimizer = build(_name, SPACES["plane"](), 0)
    if not getattr(_optimizer, "sampler", _optimizer).repeats:
        _title = "".join(part.capitalize() for part in _name.replace(")", "").split("("))
        globals()[f"TestNewness{_title}"] = type(f"TestNewness{_title}", (NewnessLaws,), {"name": _name})
