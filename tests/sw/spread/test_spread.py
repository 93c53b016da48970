"""Jobs: each done once, in order, whatever dies meanwhile; results found again by what they are."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from hw.contract.text import own_version
from hw.system.jobs import Jobs
from sw.spread import engine
from sw.spread.engine import Pool, SpreadError
from sw.spread.runner import running
from sw.spread.store import Job, Store
from tests.sw.spread.calls import always_deadly, deadly, faulty, jobs, slow, spread, square

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("workers", [0, 2])
def test_in_order_and_once(tmp_path: Path, workers: int) -> None:
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    table = list(range(100, 110))
    todo = jobs(square, 7, {"table": "digest of the table"}, log=str(log))
    twice = [*todo, todo[0]]
    results = spread(twice, store, workers=workers, shared={"table": table})
    assert [r["n"] for r in results] == [0, 1, 4, 9, 16, 25, 36, 0]
    assert results[5] == {"n": 25, "raw": b"\x05", "shared": 105}
    assert sorted(log.read_text().split()) == [str(n) for n in range(7)]
    # All of it again costs nothing, not even a worker; a new job costs itself.
    more = jobs(square, 8, {"table": "digest of the table"}, log=str(log))
    assert spread(more, store, workers=0, shared={"table": table})[:7] == results[:7]
    assert sorted(log.read_text().split()) == [str(n) for n in range(8)]


def test_a_result_is_found_by_all_that_it_depends_on() -> None:
    one = Job(name="a", function=square, arguments={"n": 1})
    assert one.key == Job(name="b", function=square, arguments={"n": 1}).key
    others = [
        Job(name="a", function=square, arguments={"n": 2}),
        Job(name="a", function=faulty, arguments={"n": 1}),
        Job(name="a", function=square, arguments={"n": 1}, shared={"table": "x"}),
        Job(name="a", function=square, arguments={"n": 1}, shared={"table": "y"}),
        Job(name="a", function=square, arguments={"n": 1}, fills=True),
    ]
    assert len({job.key for job in [one, *others]}) == 6


@pytest.mark.parametrize("damage", [b"", b"{", b'{"sha256": "0", "result": {"n": 1}}', b"[]"])
def test_a_damaged_result_is_none(tmp_path: Path, damage: bytes) -> None:
    store = Store(tmp_path)
    (job,) = jobs(square, 1)
    spread([job], store, workers=0)
    (file,) = tmp_path.glob("*/*.json")
    file.write_bytes(damage)
    assert store.get(job.key) is None
    assert spread([job], store, workers=0)[0]["n"] == 0


def test_a_store_is_cleared_of_its_own(tmp_path: Path) -> None:
    """Its folder may be somebody's."""
    store = Store(tmp_path / "jobs")
    store.put("ab" * 32, {"n": 1})
    (store.folder / "ab" / ".0123456789abcdef.part").write_bytes(b"{")
    store.clear()
    assert not list(tmp_path.iterdir())
    store.put("ab" * 32, {"n": 1})
    store.put("cd" * 32, {"n": 2})
    others = [store.folder / "cd" / "mine.json", store.folder / "thesis" / "text"]
    for file in others:
        file.parent.mkdir(exist_ok=True)
        file.write_text("precious")
    store.clear()
    assert sorted(f for f in tmp_path.rglob("*") if f.is_file()) == others
    Store(tmp_path / "none").clear()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_is_replaced(tmp_path: Path, workers: int) -> None:
    """Where it was the only one that had what is shared, too."""
    mark, table = tmp_path / "mark", list(range(100, 106))
    todo = jobs(deadly, 6, {"table": "digest"}, mark=str(mark))
    results = spread(todo, Store(tmp_path / "s"), workers=workers, shared={"table": table})
    assert mark.exists()
    assert [r["n"] for r in results] == table


def test_a_worker_that_dask_gives_up_is_replaced(tmp_path: Path, monkeypatch) -> None:
    """As where a machine has so much else to do that its successor is late."""
    settings = {**engine.SETTINGS, "distributed.deploy.lost-worker-timeout": "1ms"}
    monkeypatch.setattr(engine, "SETTINGS", settings)
    monkeypatch.setattr(engine, "LOOK", 0.1)
    mark, table = tmp_path / "mark", list(range(6))
    todo = jobs(deadly, 6, {"table": "digest"}, mark=str(mark))
    results = spread(todo, Store(tmp_path / "s"), workers=1, shared={"table": table})
    assert [r["n"] for r in results] == table


def test_a_runner(tmp_path: Path) -> None:
    """What code that makes jobs sees: results in order, what is shared by name and digest; what is
    kept is told of, too, and not done again."""
    log, told = tmp_path / "log", []
    calls = {str(n): {"n": n, "log": str(log)} for n in range(4)}

    def ask(digest: str, table: list[int]) -> list[int]:
        with running(0, kept=tmp_path / "kept") as run:
            found = run(
                Jobs(
                    "squares",
                    square,
                    calls,
                    shared={"table": (digest, table)},
                    each=lambda *a: told.append(a),
                )
            )
            again = run(Jobs("squares", square, calls, shared={"table": (digest, table)}))
        assert found == again
        assert [r["n"] for r in found] == [0, 1, 4, 9]
        return [r["shared"] for r in found]

    assert ask("a", [5, 6, 7, 8]) == [5, 6, 7, 8]
    assert [name for name, _ in told] == ["0", "1", "2", "3"]
    assert ask("a", [5, 6, 7, 8]) == [5, 6, 7, 8]
    assert told[4:] == told[:4]
    assert len(log.read_text().split()) == 4
    assert ask("b", [1, 2, 3, 4]) == [1, 2, 3, 4]
    assert len(log.read_text().split()) == 8


def test_what_is_shared_anew_is_sent_anew() -> None:
    (job,) = jobs(square, 1, {"table": "x"})
    with Pool(0) as pool:
        pool.share("table", [3], "a")
        assert [r["shared"] for _, r in pool.run([job])] == [3]
        pool.share("table", [4], "a")
        assert [r["shared"] for _, r in pool.run([job])] == [3]
        pool.share("table", [4], "b")
        assert [r["shared"] for _, r in pool.run([job])] == [4]


@pytest.mark.long
def test_a_job_that_no_worker_survives(tmp_path: Path) -> None:
    job = Job(name="the last", function=always_deadly, arguments={})
    with pytest.raises(SpreadError, match="Job the last ended 4 workers"):
        spread([job], Store(tmp_path), workers=1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_is_raised_and_the_rest_kept(tmp_path: Path, workers: int) -> None:
    store = Store(tmp_path)
    todo = jobs(faulty, 6)
    with pytest.raises(ValueError, match="three is too much"):
        spread(todo, store, workers=workers)
    assert [store.get(job.key) for job in todo[:3]] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_no_scheduler(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sw.spread.engine.PATIENCE", 1)
    with pytest.raises(SpreadError, match=r"Scheduler tcp://127\.0\.0\.1:9 must be one of Dask"):
        spread(jobs(square, 1), Store(tmp_path), scheduler="tcp://127.0.0.1:9")
    with pytest.raises(SpreadError, match="Workers must be a number of at least 0, not -1"):
        spread(jobs(square, 1), Store(tmp_path), workers=-1)
    with (
        pytest.raises(SpreadError, match=r"^Scheduler tcp://127\.0\.0\.1:9 must be"),
        running(scheduler="tcp://127.0.0.1:9"),
    ):
        raise AssertionError("hours of work before the first job were begun")
    with pytest.raises(SpreadError, match=r"^Jobs must have a number of workers or a scheduler, "):
        Pool(0, "tcp://127.0.0.1:9")


def test_a_cluster_that_runs(tmp_path: Path, monkeypatch) -> None:
    """It is asked for its version; what is shared comes once; it goes on running."""
    started: Any = LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    )
    with started as cluster:
        address, table = cluster.scheduler_address, list(range(10, 15))
        todo = jobs(square, 5, {"table": "digest"})
        for n in range(2):  # one after the other: the first leaves it as it was
            store, shared = Store(tmp_path / str(n)), {"table": table}
            results = spread(todo, store, scheduler=address, shared=shared)
            assert [r["shared"] for r in results] == table
        monkeypatch.setattr("sw.spread.engine._versions", lambda client: {"0.0", own_version()})
        with pytest.raises(SpreadError, match=rf"must have Sterna {own_version()}, not 0\.0$"):
            spread(todo, Store(tmp_path / "other"), scheduler=address)


def test_interrupted_only_one_process_says_so(tmp_path: Path) -> None:
    """Ctrl-C reaches the workers, too."""
    log, script = tmp_path / "log", tmp_path / "run.py"
    script.write_text(
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # of a background job: ignored\n"
        "if __name__ == '__main__':\n"
        "    from pathlib import Path\n"
        "    from sw.spread.store import Store\n"
        "    from tests.sw.spread.calls import jobs, slow, spread\n"
        f"    todo = jobs(slow, 50, log={str(log)!r})\n"
        "    try:\n"
        f"        spread(todo, Store(Path({str(tmp_path / 's')!r})), workers=1)\n"
        "    except KeyboardInterrupt:\n"
        "        print('Interrupted')\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    while not log.exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate()[0] == b"Interrupted\n"


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    """The process that hands out is killed; the next one does what is left, and no more."""
    log = tmp_path / "log"
    kept_in = str(tmp_path / "s")
    code = (
        "if __name__ == '__main__':\n"
        "    from pathlib import Path\n"
        "    from sw.spread.store import Store\n"
        "    from tests.sw.spread.calls import jobs, slow, spread\n"
        f"    todo, store = jobs(slow, 12, log={str(log)!r}), Store(Path({kept_in!r}))\n"
        "    spread(todo, store, workers=1)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, str(script)], env=environment)
    while not log.exists() or len(log.read_text().split()) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    kept = len(list((tmp_path / "s").glob("*/*.json")))
    assert 1 <= kept < 12
    time.sleep(1)  # an orphan may finish the job that it has
    before = len(log.read_text().split())
    results = spread(jobs(slow, 12, log=str(log)), Store(tmp_path / "s"), workers=0)
    assert [r["n"] for r in results] == [n * n for n in range(12)]
    assert len(log.read_text().split()) - before == 12 - kept
    assert json.loads(json.dumps([r["n"] for r in results]))
