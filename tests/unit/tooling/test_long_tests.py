"""Turns and shards of the long tests: every file has its day, none runs twice."""

import json

import long_tests
import pytest

FILES = [f"tests/x/test_{letter}.py" for letter in "abcdefgh"]
SECONDS = {name: 10.0 * number for number, name in enumerate(FILES, 1)}


def test_every_file_is_in_some_turn():
    seen: set[str] = set()
    for turn in range(len(FILES)):
        seen.update(long_tests.sample(FILES, SECONDS, 100, turn))
    assert seen == set(FILES)


@pytest.mark.parametrize("turn", range(8))
def test_a_turn_fits_its_budget(turn):
    chosen = long_tests.sample(FILES, SECONDS, 100, turn)
    assert len(chosen) == len(set(chosen))
    assert sum(SECONDS[name] for name in chosen) <= 100


def test_a_file_longer_than_the_budget_runs_alone_in_its_turn():
    assert long_tests.sample(FILES, SECONDS, 5, 7) == [FILES[7]]


def test_a_file_that_nobody_measured_counts_a_minute():
    assert long_tests.sample(["a", "b", "c"], {}, 2 * long_tests.UNKNOWN_S, 0) == ["a", "b"]


def test_shards_part_the_files_evenly():
    parts = [long_tests.shard(FILES, SECONDS, number, 3) for number in (1, 2, 3)]
    assert sorted(name for part in parts for name in part) == FILES
    totals = [sum(SECONDS[name] for name in part) for part in parts]
    assert max(totals) - min(totals) <= 20


@pytest.fixture
def tests_of_its_own(pytester, monkeypatch):
    """A folder with the plugin and two long files of tests."""
    monkeypatch.setattr(long_tests, "SECONDS", pytester.path / "seconds.json")
    pytester.makeconftest(
        """
        import long_tests

        def pytest_addoption(parser):
            long_tests.add_options(parser)

        def pytest_configure(config):
            config.addinivalue_line("markers", "slow: long")
            config.pluginmanager.register(long_tests.LongTests(config), "long-tests")
        """
    )
    body = "import time\nimport pytest\n\n@pytest.mark.slow\n@pytest.mark.parametrize('n', [1, 2])\n"
    pytester.makepyfile(
        test_one=body + "def test_it(n):\n    time.sleep(0.2)\n",
        test_two=body + "def test_it(n):\n    pass\n",
    )
    return pytester


def test_no_file_begins_when_the_time_is_over(tests_of_its_own):
    seconds = tests_of_its_own.path / "seconds.json"
    seconds.write_text('{"test_one.py": 0.05, "test_two.py": 0.05}')
    result = tests_of_its_own.runpytest_inprocess(
        "--sample", "0.15", "--turn", "0", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=2, skipped=2)


def test_measured_seconds_replace_the_known_ones_of_files_that_are_there(tests_of_its_own):
    top = tests_of_its_own.path
    known = {"test_one.py": 60.0, "test_two.py": 7.0, "test_gone.py": 9.0}
    found = long_tests.measured_seconds(known, {"test_one.py": 12.34}, top)
    assert found == {"test_one.py": 12.3, "test_two.py": 7.0}


def test_seconds_are_written_when_asked_for(tests_of_its_own):
    seconds = tests_of_its_own.path / "seconds.json"
    tests_of_its_own.makepyfile(
        test_two="import pytest\n\n@pytest.mark.slow\ndef test_it():\n    pytest.skip('no')\n",
        test_fast="def test_it():\n    pass\n",
    )
    words = ("-p", "no:cacheprovider")
    tests_of_its_own.runpytest_inprocess(*words).assert_outcomes(passed=3, skipped=1)
    assert not seconds.exists()
    tests_of_its_own.runpytest_inprocess("--write-seconds", *words)
    assert list(json.loads(seconds.read_text())) == ["test_one.py"]
