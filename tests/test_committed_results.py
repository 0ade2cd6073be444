"""What the documentation says of the models is what `blade-results` measured."""

import json
import pathlib

import pytest

from blade_tf import compare, models
from blade_tf.results import card, text

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def results():
    path = ROOT / "results" / "results.json"
    if not path.exists():
        pytest.skip("results/ is part of the repository only")
    return json.loads(path.read_text())


def test_the_readme_holds_the_table(results):
    readme = (ROOT / "README.md").read_text()
    assert readme.partition("<!-- results -->\n")[2].partition("<!-- /results -->")[0] == text.summary(results) + "\n"


def test_the_cards_hold_each_models_figures(results):
    shipped = set(models.pretrained_names()) - set(models.ALIASES)
    assert shipped == set(results["models"])
    for name in shipped:
        found = (models.PRETRAINED / name / "README.md").read_text()
        assert found == card.card(models.load_trained(name), results)


def comparisons():
    found = [json.loads(path.read_text()) for path in sorted((ROOT / "results").glob("*.json"))]
    return {record["name"]: record for record in found if "tables" in record}


@pytest.mark.usefixtures("results")
def test_the_cards_of_applications_hold_their_comparisons_figures():
    uses = {name: record for record in comparisons().values() for name in record.get("uses", ())}
    assert uses.keys() >= {*models.pretrained_names("resampling"), *models.pretrained_names("upscaling")}
    for name, record in uses.items():
        found = (models.PRETRAINED / name / "README.md").read_text()
        assert found == compare.card(models.load_trained(name), record)


@pytest.mark.usefixtures("results")
def test_the_pages_of_comparisons_are_those_of_the_numbers():
    for name, record in comparisons().items():
        assert (ROOT / "results" / f"{name}.md").read_text() == compare.document(record)


def test_the_text_is_that_of_the_numbers(results):
    assert (ROOT / "results" / "README.md").read_text() == text.document(results)
