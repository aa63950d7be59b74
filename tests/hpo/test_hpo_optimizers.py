"""Every optimizer that is listed, and compositions, under the laws."""

from tests.hpo.laws import CASES, LearnerLaws, OptimizerLaws, test_cases_are_what_they_say  # noqa: F401

for _name in CASES:
    _title = "".join(part.capitalize() for part in _name.replace(")", "").split("("))
    globals()[f"Test{_title}"] = type(f"Test{_title}", (OptimizerLaws,), {"name": _name})

for _name, _jobs in (("gp", {}), ("asha(gp)", {}), ("median(gp)", {"jobs": 40})):
    _title = "".join(part.capitalize() for part in _name.replace(")", "").split("("))
    globals()[f"TestLearner{_title}"] = type(f"TestLearner{_title}", (LearnerLaws,), {"name": _name, **_jobs})
