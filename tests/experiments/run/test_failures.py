"""Each kind of failure has its policy: what comes again, what comes again alone, what stops the study."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from fake_study import fork, take_slots

from experiments.attempts import attempts
from experiments.errors import LavitError
from experiments.failures import FAILURES, classify, parse_retry
from experiments.launch import HerePool, run_graph
from experiments.lease import ask_holders
from experiments.pool import Ended


def statuses(outcomes):
    return {identity: outcome.status for identity, outcome in outcomes.items()}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"class": "ValueError", "message": "x"}, "bug"),
        ({"class": "MemoryError", "message": ""}, "memory"),
        ({"class": "OutOfMemoryError", "message": "CUDA out of memory. Tried to allocate 2 GiB"}, "memory"),
        ({"class": "RuntimeError", "message": "[enforce fail] DefaultCPUAllocator: out of memory"}, "memory"),
        ({"class": "Died", "message": "killed by signal 9 (SIGKILL)"}, "memory"),
        ({"class": "Died", "message": "killed by signal 11 (SIGSEGV)"}, "lost"),
        ({"class": "Lost", "message": "a node went away"}, "lost"),
        ({"class": "TrainingError", "message": "stage pretrain: the loss is nan at step 8."}, "nan"),
        ({"class": "TimedOut", "message": ""}, "timeout"),
        (None, "bug"),
    ],
)
def test_a_failure_is_told_by_its_note(error, kind):
    assert classify(error).name == kind


def test_kinds_to_retry_are_read_with_their_other_names():
    assert parse_retry(None) is None
    assert parse_retry("failed") is None
    assert parse_retry("none") == frozenset()
    assert parse_retry("oom, nan") == {"memory", "nan"}
    with pytest.raises(LavitError, match="did you mean 'timeout'"):
        parse_retry("timeot")


def arms(make_job, count, how, **settings):
    """That many pretrainings of as many arms; ``how`` is of the first, or one for each."""
    ways = [how] * count if isinstance(how, str) else how
    jobs = [make_job("pretrain", f"p{index}", how=way, **settings) for index, way in enumerate(ways)]
    for index, job in enumerate(jobs):
        job.runs = [(f"arm{index}", 0)]
    return {(job.stage, job.key): job for job in jobs}


def test_the_same_error_in_the_first_two_arms_stops_the_study(store, make_job, attempts):
    jobs = arms(make_job, 5, "raise")
    outcomes = run_graph(jobs, store, HerePool())
    assert list(statuses(outcomes).values()).count("failed") == 2
    assert [outcome.stopped for outcome in outcomes.values()].count(True) == 3
    assert len(attempts()) == 2
    assert "fake_stages.py" in store.failure("pretrain", "p0")["where"]


def test_two_seeds_of_one_arm_and_arms_after_one_that_worked_do_not_stop_it(store, make_job):
    jobs = arms(make_job, 4, ["raise", "raise", "", ""])
    for job in jobs.values():
        job.runs = [("frozen" if job.config["work"]["how"] else job.key, int(job.key[1]))]
    assert list(statuses(run_graph(jobs, store, HerePool())).values()).count("ran") == 2
    jobs = arms(make_job, 7, ["", "", "", "", "raise", "raise", "raise"], seed=1)
    assert list(statuses(run_graph(jobs, store, HerePool())).values()).count("failed") == 3


def test_what_ran_out_of_memory_comes_once_more_with_no_neighbour(store, make_job, tmp_path):
    spans = tmp_path / "spans"
    spans.mkdir()
    jobs = arms(make_job, 4, ["memory once", "", "", "memory"], seconds=0.3)
    for job in jobs.values():
        job.config["work"]["spans"] = str(spans)
    outcomes = run_graph(jobs, store, fork(slots=3))
    assert list(statuses(outcomes).values()) == ["ran", "ran", "ran", "failed"]
    made = [attempts(store.folder(*job)) for job in jobs]
    assert [len(each) for each in made] == [2, 1, 1, 2]
    again = [made[0][1], made[3][1]]
    for one in again:
        others = [attempt for each in made for attempt in each if attempt is not one]
        assert not any(one["begun"] < other["ended"] and other["begun"] < one["ended"] for other in others)
    assert classify(store.failure("pretrain", "p3")).name == "memory"


def test_a_loss_that_is_not_finite_is_marked_and_the_others_go_on(store, make_job, attempts):
    jobs = arms(make_job, 4, ["nan", "nan", "nan", ""])
    outcomes = run_graph(jobs, store, HerePool())
    assert list(statuses(outcomes).values()) == ["failed", "failed", "failed", "ran"]
    assert len(attempts()) == 4


def test_a_lost_worker_is_started_twice_more(store, make_job):
    jobs = arms(make_job, 1, "exit")
    assert list(statuses(run_graph(jobs, store, fork(slots=1))).values()) == ["failed"]
    made = attempts(store.folder("pretrain", "p0"))
    assert [attempt["end"] for attempt in made] == [None, None, None]


def test_what_failed_earlier_is_tried_again_only_where_its_kind_is_named(store, make_job, attempts):
    jobs = arms(make_job, 2, ["nan", "exit"])
    jobs["evaluate", "e"] = make_job("evaluate", "e", {"pretrain": "p0"})
    run_graph(jobs, store, fork(slots=1))
    before = len(attempts())
    for job in jobs.values():
        job.config["work"]["how"] = ""
    outcomes = run_graph(jobs, store, HerePool(), retry={"lost"})
    assert list(statuses(outcomes).values()) == ["failed", "ran", "blocked"]
    assert [key for _, key in attempts()[before:]] == ["p1"]
    assert list(statuses(run_graph(jobs, store, HerePool())).values()) == ["ran", "done", "ran"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_worker_that_is_asked_to_stop_saves_and_goes_on_with_the_same_bits(store, make_job, tmp_path, number):
    job = make_job("pretrain", "p", seconds=1.5, steps=15)
    folder = store.folder("pretrain", "p")

    def ask():
        deadline = time.monotonic() + 20
        while not (folder / "resume" / "step.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        ask_holders([folder], number)

    thread = threading.Thread(target=ask)
    thread.start()
    outcomes = run_graph({("pretrain", "p"): job}, store, fork(slots=1))
    thread.join()
    assert list(statuses(outcomes).values()) == ["ran"]
    made = attempts(folder)
    assert [attempt["end"] for attempt in made] == ["preempted", "done"]
    assert (folder / "taken.log").read_text().split() == [str(step) for step in range(15)], "no step was taken twice"
    assert store.failure("pretrain", "p") is None


def test_a_stage_that_never_looks_is_interrupted_at_its_next_report(store, make_job):
    """What has no state to save ends at once, and is made again from its beginning."""
    job = make_job("evaluate", "e", how="deaf", seconds=1.0, steps=10)
    folder = store.folder("evaluate", "e")

    def ask():
        deadline = time.monotonic() + 20
        while not (folder / "resume").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        ask_holders([folder], signal.SIGTERM)

    thread = threading.Thread(target=ask)
    thread.start()
    assert list(statuses(run_graph({("evaluate", "e"): job}, store, fork(slots=1))).values()) == ["ran"]
    thread.join()
    assert [attempt["end"] for attempt in attempts(folder)] == ["preempted", "done"]


def test_every_kind_says_what_happened_and_what_is_done():
    assert all(failure.meaning and failure.answer for failure in FAILURES.values())


class Slots(HerePool):
    """Notes how large the jobs are that run together."""

    def __init__(self, slots, devices=()):
        super().__init__()
        self.slots, self.devices, self.sizes, self.waiting = slots, devices, [], []

    def start(self, request, size=1):
        self.waiting.append((request, size))

    def wait(self, timeout_s):
        self.sizes.append(sum(size for _, size in self.waiting))
        for request, _ in self.waiting:
            super().start(request)
        self.waiting = []
        return super().wait(0)


def test_a_job_of_several_processes_takes_as_many_slots(store, make_job):
    jobs = arms(make_job, 4, "")
    for job, devices in zip(jobs.values(), (2, 1, 2, 1), strict=True):
        take_slots(job, devices)
    pool = Slots(3)
    assert set(statuses(run_graph(jobs, store, pool)).values()) == {"ran"}
    assert max(pool.sizes) <= 3
    assert Ended(store.root, "done").message == ""


def test_a_job_larger_than_the_devices_is_refused_before_any_work(store, make_job, attempts):
    jobs = arms(make_job, 1, "")
    jobs["pretrain", "p0"].devices = 4
    with pytest.raises(LavitError, match=r"needs 4 devices, but there are 2"):
        run_graph(jobs, store, Slots(2, devices=["0", "1"]))
    assert attempts() == []
