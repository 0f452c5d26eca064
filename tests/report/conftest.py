import pytest

from fer_utils import report
from tests.report import made


@pytest.fixture(scope="session")
def folds():
    return made.make_results(made.VARIANTS, folds=3, variants=[v["variant"] for v in made.VARIANTS])


@pytest.fixture(scope="session")
def models():
    return made.make_results(made.MODELS, models=[6, 7, 8, 10, 16, 20], reference="")


@pytest.fixture(scope="session")
def fold_cases(folds):
    return report.read_cases(folds)


@pytest.fixture(scope="session")
def model_cases(models):
    return report.read_cases(models)


@pytest.fixture(scope="session")
def fold_scores(fold_cases):
    return report.score_table(fold_cases, resamples=50)
