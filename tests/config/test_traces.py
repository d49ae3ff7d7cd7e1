from pathlib import Path

import pytest

from gateway.config.fields import Model, SecretText
from gateway.config.load import load
from gateway.config.traces import Traces, contents, essence
from gateway.errors import ConfigError
from gateway.values import Secret
from tests.config.texts import REGISTRY


class Settings(Model):
    """Settings that name a file and keep a secret."""

    file: Path | None = None
    secret: SecretText = Secret("")
    names: frozenset[str] = frozenset()


def test_a_look_tells_what_is_in_every_file_and_which_files_there_are(tmp_path):
    """A changed content, a file that comes or goes, and one that matches a pattern."""
    file, traces = tmp_path / "a.yaml", Traces()
    file.write_text("a")
    traces.file(file)
    traces.pattern(tmp_path, "*.yaml")
    looks = [traces.look()]
    for change in (
        lambda: file.write_text("b"),
        lambda: (tmp_path / "c.yaml").write_text(""),
        file.unlink,
    ):
        change()
        looks.append(traces.look())

    assert 4 == len({str(sorted(look.items())) for look in looks})
    assert looks[-1] == traces.look()


def test_a_file_that_was_only_touched_is_no_news(tmp_path):
    """Contents are compared, not times."""
    file, traces = tmp_path / "a", Traces()
    file.write_text("a")
    traces.file(file)
    before = traces.look()
    file.unlink()
    file.write_text("a")

    assert before == traces.look()


def test_files_that_cannot_be_read_are_told_apart(tmp_path):
    """A directory, nothing at all, and a name that is none."""
    found = {contents(path) for path in (tmp_path, tmp_path / "no", Path("a\0b"))}

    assert {b"IsADirectoryError", b"FileNotFoundError", b"ValueError"} == found


def test_loading_takes_note_of_every_file_there_is(tmp_path):
    """The file, what it includes, and the files of references and settings."""
    (tmp_path / "secret").write_text("s" * 40)
    (tmp_path / "more.yaml").write_text("routes: []")
    path, traces = tmp_path / "gateway.yaml", Traces()
    path.write_text(
        "version: 1\ninclude: ['*ore.yaml']\nsecret: ${file:secret}\noops: ${file:none}"
    )
    with pytest.raises(ConfigError):
        load(path, REGISTRY, {}, traces=traces)

    names = {Path(name).name for name in traces.look()}
    assert {"gateway.yaml", "more.yaml", "secret", "none"} <= names
    assert f"{tmp_path}: *ore.yaml" in traces.look()


def test_files_that_settings_name_are_noted(tmp_path):
    """Certificates and keys."""
    traces = Traces()
    traces.named_in(Settings(file=tmp_path / "ca.pem"))

    assert [str(tmp_path / "ca.pem")] == list(traces.look())


def test_traces_add_up(tmp_path):
    """Of an included file, and of what was read before."""
    one, other = Traces(), Traces()
    one.file(tmp_path / "a")
    other.file(tmp_path / "b")
    other.pattern(tmp_path, "*")
    one.add(other)

    assert 3 == len(one.look())
    assert "<Traces: 2 files>" == repr(one)


def test_settings_have_an_essence(tmp_path):
    """Their secrets and what is in their files belong to it; an order of a set does not."""
    file = tmp_path / "key"
    file.write_text("one")
    plain = essence(Settings(file=file, names=frozenset({"a", "b", "c"})))
    same = essence(Settings(file=file, names=frozenset({"c", "b", "a"})))
    secret = essence(Settings(file=file, secret=Secret("x")))
    other = essence(Settings(file=file, secret=Secret("y")))
    file.write_text("two")
    renewed = essence(Settings(file=file, names=frozenset({"a", "b", "c"})))

    assert plain == same
    assert 4 == len({plain, secret, other, renewed})
    assert essence((1, ["a", {"b": None}])) != essence((1, ["a", {"c": None}]))
