from pathlib import Path

import pytest

from gateway.config.files import TEXT_NAME, directory, read_files
from gateway.config.report import Report


def reading(source: Path | str, **environ: str) -> tuple[object, Report]:
    """Read files, whatever is wrong with them."""
    report = Report()
    return read_files(source, environ, report), report


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """A file that includes a folder; the folder is empty as yet."""
    (tmp_path / "routes.d").mkdir()
    file = tmp_path / "main.yaml"
    file.write_text("include: [routes.d/*.yaml]\nroutes: [{id: own}]\n")
    return file


def test_a_text_is_read_as_it_is():
    """It has a name for messages, and starts from the working directory."""
    found, report = reading("a: 1")

    assert {"a": 1} == found
    assert [TEXT_NAME] == report.files
    assert Path() == directory("a: 1")


def test_included_routes_follow_our_own_by_name(main):
    """The order does not depend on the file system's."""
    for name in "b", "a", "c":
        routes = f"routes: [{{id: {name}}}, {{id: '${{env:X}}'}}]"
        (main.parent / "routes.d" / f"{name}.yaml").write_text(routes)

    found, report = reading(main, X="x")

    assert isinstance(found, dict)
    assert ["own", "a", "x", "b", "x", "c", "x"] == [
        route["id"] for route in found["routes"]
    ]
    mark = report.marks["routes", 4, "id"]
    assert (str(main.parent / "routes.d" / "b.yaml"), 1, "routes[1].id") == mark[:3]


def test_references_of_an_included_file_start_from_it(main):
    """Its neighbours move with it."""
    (main.parent / "routes.d" / "name").write_text("n\n")
    (main.parent / "routes.d" / "a.yaml").write_text("routes: [{id: '${file:name}'}]")

    found, _ = reading(main)

    assert isinstance(found, dict)
    assert {"id": "n"} == found["routes"][1]


def test_an_absolute_pattern_is_as_good(main, tmp_path):
    """Mounted folders are elsewhere."""
    main.write_text(f"include: [{tmp_path}/routes.d/*.yaml]\n")
    (tmp_path / "routes.d" / "a.yaml").write_text("routes: [{id: a}]")

    found, _ = reading(main)

    assert isinstance(found, dict)
    assert [{"id": "a"}] == found["routes"]


def test_a_pattern_without_files_is_a_warning_and_a_name_a_problem(main):
    """An empty folder is normal; a missing file is a slip."""
    main.write_text("include: [routes.d/*.yaml, gone.yaml]\n")

    _, report = reading(main)

    assert [f"{main}:1: include[0]: no file matches"] == report.warnings()
    assert [f"{main}:1: include[1]: expected a file, found none"] == (
        report.error().problems
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1: expected a mapping that holds `routes`"),
        ("[1]", "1: expected a mapping that holds `routes`"),
        ("routes: 5", "1: routes: expected a list"),
        (
            "routes: []\nsecret: s\n",
            "2: secret: expected `routes` alone in an included file",
        ),
        ("a: b: c", "1: expected YAML: mapping values are not allowed in this context"),
    ],
)
def test_an_included_file_holds_routes_alone(main, text, problem):
    """And its own name is in the message."""
    file = main.parent / "routes.d" / "a.yaml"
    file.write_text(text)

    _, report = reading(main)

    assert [f"{file}:{problem}"] == report.error().problems


@pytest.mark.parametrize(
    "text", ["include: routes.d/*.yaml", "routes: 5\ninclude: [x]", "include: [[x]]"]
)
def test_what_is_no_list_of_patterns_is_left_to_the_model(main, text):
    """It knows better what was expected."""
    main.write_text(text)

    _, report = reading(main)

    assert [] == report.problems


def test_a_value_that_is_no_mapping_is_left_to_the_model():
    """Likewise."""
    assert 5 == reading("5")[0]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path):
    """It is named."""
    file = tmp_path / "a.yaml"

    found, report = reading(file)

    assert found is None
    assert [f"{file}: cannot be read: No such file or directory"] == (
        report.error().problems
    )


def test_an_included_file_that_cannot_be_read_is_a_problem_of_who_names_it(main):
    """There it is mended: a folder stands for no files, and a glob takes all."""
    folder = main.parent / "routes.d"
    (folder / "inner").mkdir()
    (folder / "z").write_text("routes: [{id: z}]")
    main.write_text(f"routes: []\ninclude: [routes.d/*,\n  {folder}]\n")

    whole, report = reading(main)

    assert [
        f"{main}:{place}: expected a file that can be read, found {found}: Is a directory"
        for place, found in (
            ("2: include[0]", folder / "inner"),
            ("3: include[1]", folder),
        )
    ] == report.error().problems
    assert isinstance(whole, dict)
    assert [{"id": "z"}] == whole["routes"]


def test_what_is_no_utf_8_is_a_problem_of_its_line(main):
    """An editor's other encoding is found by the first letter that shows it."""
    included = main.parent / "routes.d" / "a.yaml"
    for file in main, included:
        file.write_bytes(b"\xef\xbb\xbfinclude: [routes.d/*]\nsecret: \xff\n")

    assert reading(main)[0] is None
    assert [f"{main}:2: expected UTF-8 text"] == reading(main)[1].error().problems
    main.write_text("include: [routes.d/*]")
    assert [f"{included}:2: expected UTF-8 text"] == reading(main)[1].error().problems


def test_a_byte_order_mark_is_no_content(tmp_path):
    """Some editors write one."""
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1")

    assert {"a": 1} == reading(file)[0]
