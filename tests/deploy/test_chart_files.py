"""What the chart has from elsewhere is the same there and here."""

import json
import re

import pytest
import yaml

from deploy.chart import CHART, ROOT, files, parameters, values


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_made_files_are_up_to_date(path):
    """`make chart` makes them; a change of values.yaml or config/schema.json asks for it."""
    assert files()[path] == path.read_text()


def test_every_value_has_one_comment():
    """The README's table is whole, and tells nothing that is not there."""
    told = [each.path for each in parameters()]
    given = values()

    assert sorted(set(told)) == sorted(told)
    for path in told:
        place = given
        for key in path.split("."):
            place = place[key]


def test_the_schema_knows_the_language():
    """Wrong keys of the gateway's own configuration are refused by Helm already."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    language = json.loads((ROOT / "config" / "schema.json").read_text())

    assert (
        language["properties"].keys() == schema["$defs"]["config"]["properties"].keys()
    )
    assert language["$defs"].keys() < schema["$defs"].keys()
    assert "(?!" not in json.dumps(schema)


def test_the_chart_has_the_version_of_the_program():
    """The image's default tag is the program's version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (ROOT / "pyproject.toml").read_text()

    assert f'version = "{chart["appVersion"]}"' in project


def test_links_of_the_readme_lead_somewhere():
    """No link is dead."""
    links = re.findall(r"\]\((?!http)([^)#]+)", (CHART / "README.md").read_text())

    assert [link for link in links if not (CHART / link).exists()] == []
    assert links
