"""Turns and shards of the long tests: every file has its day, none runs twice."""

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


def test_no_file_begins_when_the_time_is_over(pytester, monkeypatch):
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
    (pytester.path / "seconds.json").write_text('{"test_one.py": 0.05, "test_two.py": 0.05}')
    result = pytester.runpytest_inprocess("--sample", "0.15", "--turn", "0", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, skipped=2)
