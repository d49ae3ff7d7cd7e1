import pytest

from gateway.config.source import Source
from gateway.errors import ConfigError
from tests.config.texts import REGISTRY

GOOD = "version: 1\nsecret: '${file:secret}'\n"


@pytest.fixture
def source(tmp_path):
    """A source that was read once."""
    (tmp_path / "secret").write_text("s" * 40)
    path = tmp_path / "gateway.yaml"
    path.write_text(GOOD)
    source = Source(path, REGISTRY, {})
    source.load()
    return source


def test_what_was_read_is_no_news(source):
    """However often one looks."""
    assert [False, False] == [source.changed() for _ in range(2)]
    assert f"<Source {source.path}: <Traces: 2 files>>" == repr(source)


def test_a_change_is_news_once_it_rests(source):
    """Who writes by and by is given time; once read it is no news any more."""
    source.path.write_text(GOOD + "workers: 1\n")
    first = source.changed()
    source.path.write_text(GOOD + "drain: {deadline: 1s}\n")
    still = source.changed()
    rested = source.changed()
    loaded = source.load()

    assert (False, False, True) == (first, still, rested)
    assert 1.0 == loaded.config.drain.deadline
    assert not source.changed()


def test_a_file_that_it_names_is_part_of_it(source, tmp_path):
    """A secret that was rotated."""
    (tmp_path / "secret").write_text("t" * 40)
    news = [source.changed() for _ in range(2)]

    assert [False, True] == news
    assert ("t" * 40,) == source.load().config.secret


def test_one_that_is_wrong_is_news_when_it_is_mended(source, tmp_path):
    """Also by a file that only the former one is known to name."""
    source.path.write_text("version: [")
    with pytest.raises(ConfigError):
        source.load()
    unchanged = source.changed()
    (tmp_path / "secret").write_text("t" * 40)
    known_before = [source.changed() for _ in range(2)]
    source.path.write_text(GOOD)
    source.changed()

    assert not unchanged
    assert [False, True] == known_before
    assert source.changed()


def test_what_it_did_not_name_before_is_noticed_too(source, tmp_path):
    """A file that comes with a change is looked at from then on."""
    source.path.write_text(GOOD + "include: ['r.d/*.yaml']\n")
    source.load()
    (tmp_path / "r.d").mkdir()
    (tmp_path / "r.d" / "a.yaml").write_text("routes: []")
    news = [source.changed() for _ in range(2)]

    assert [False, True] == news
