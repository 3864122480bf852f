"""The fake: what its programs do, its clock, and what run(), Sandbox and the verbs of a container make of that."""

from __future__ import annotations

import threading

import pytest

from libcontainer_py import (
    DEVNULL,
    PIPE,
    CommandFailed,
    ConfigError,
    ContainerTimeout,
    Exited,
    ExitStatus,
    Factory,
    HookError,
    MemoryPressure,
    OomKill,
    Outcome,
    OutOfMemory,
    ProgramNotFound,
    Sandbox,
    Spec,
    Started,
    StartError,
    Status,
    run,
)
from libcontainer_py.spec import CPU, Hook, Hooks, Linux, Memory, Namespace, Pids, Process, Resources, Root
from libcontainer_py.testing.fake import FakeFactory
from libcontainer_py.testing.programs import (
    cannot_run,
    dies,
    eats_memory,
    ends_on,
    exits,
    ignores,
    is_missing,
    prints,
    reads_stdin,
    runs_forever,
    sleeps,
    starts,
    works,
)


def cat(call):
    given = yield reads_stdin()
    yield prints(given)


def limited(*args: str, **limits) -> Spec:
    return Spec(
        root=Root(path="/rootfs"),
        process=Process(args=args or ("program",), cwd="/"),
        linux=Linux(namespaces=(Namespace(type="pid"), Namespace(type="mount")), resources=Resources(**limits)),
    )


# -- a container ------------------------------------------------------------------------------------------------------


def test_without_anything_it_runs_until_it_is_killed():
    fake = FakeFactory()
    assert isinstance(fake, Factory)
    container = fake.create("web")
    assert container.status is Status.CREATED
    container.start()
    with pytest.raises(ContainerTimeout):
        container.wait(3600)
    assert fake.now() == 3600
    container.signal("TERM")  # it is pid 1, and has no handler
    assert container.status is Status.RUNNING
    container.kill()
    assert container.wait() == ExitStatus(-9)
    container.delete()
    assert fake.ids() == []


def test_it_ends_when_its_time_has_come():
    fake = FakeFactory(program=exits(3, after=2.5))
    container = fake.create("web")
    container.start()
    with pytest.raises(ContainerTimeout):
        container.wait(2)
    assert container.wait(2) == ExitStatus(3)
    assert fake.now() == 2.5


def test_two_containers_end_in_the_order_of_their_times():
    fake = FakeFactory()
    late = fake.create("late", program=exits(1, after=5))
    soon = fake.create("soon", program=exits(2, after=1))
    late.start()
    soon.start()
    assert late.wait() == ExitStatus(1)
    assert (soon.status, fake.now()) == (Status.STOPPED, 5)


def test_programs_by_their_words():
    fake = FakeFactory(
        programs={"sh": exits(1), ("sh", "-c", "true"): exits(0), "/bin/false": exits(2)}, program=exits(9)
    )
    for words, code in ((("/bin/sh",), 1), (("sh", "-c", "true"), 0), (("/bin/false",), 2), (("false",), 9)):
        assert run(words, factory=fake).returncode == code
    fake.install("false", exits(4))
    assert run(["/usr/bin/false"], factory=fake).returncode == 4


def test_where_programs_are_named_others_are_not_there():
    fake = FakeFactory(programs={"true": exits()})
    with pytest.raises(ProgramNotFound, match="executable file not found") as raised:
        run(["tru"], factory=fake)
    assert raised.value.result is not None
    assert (raised.value.result.outcome, raised.value.result.returncode) == (Outcome.START_FAILED, 127)
    assert fake.create("web").status is Status.CREATED  # who names no program, gets one
    assert fake.ids() == ["web"]


@pytest.mark.parametrize(
    ("program", "kind"), [(cannot_run(), ProgramNotFound), (cannot_run(8, "exec format"), StartError)]
)
def test_a_program_that_the_kernel_does_not_execute(program, kind):
    fake = FakeFactory(program=program)
    container = fake.create("web")
    with pytest.raises(StartError) as raised:
        container.start()
    assert type(raised.value) is kind
    assert container.status is Status.STOPPED


def test_a_program_that_is_missing():
    fake = FakeFactory(program=is_missing())
    with pytest.raises(ProgramNotFound):
        fake.create("web")
    assert fake.ids() == []


def test_signals_that_it_handles():
    fake = FakeFactory(program=[ends_on("TERM", code=7), ignores(2), runs_forever()])
    container = fake.create("web")
    container.start()
    container.signal(2)
    assert container.status is Status.RUNNING
    container.signal("TERM")
    assert container.wait() == ExitStatus(7)


def test_a_command_of_run_is_not_pid_1():
    fake = FakeFactory(programs={"stubborn": [ignores("TERM"), exits(5, after=2)], "soft": exits(5, after=2)})
    for words, returncode in (("stubborn", 5), ("soft", -15)):
        with Sandbox(factory=fake) as sandbox, sandbox.spawn([words]) as process:
            process.terminate()
            assert process.wait() == returncode


def test_a_bundle_is_used_where_there_is_one(tmp_path):
    (tmp_path / "config.json").write_text(Spec.minimal(["there"]).to_json())
    fake = FakeFactory(programs={"there": exits(4)})
    container = fake.create("web", tmp_path)
    container.start()
    assert (container.wait().returncode, container.bundle) == (4, str(tmp_path))
    assert fake.create("other", "/no/such/bundle", program=exits()).bundle == "/no/such/bundle"
    (tmp_path / "config.json").write_text('{"ociVersion": "1.0.2", "process": {"args": 5}}')
    with pytest.raises(ConfigError, match="args"):
        fake.create("broken", tmp_path)


def test_hooks_run_and_may_fail():
    def fail(kind: str, state: str) -> None:
        raise HookError(kind, 0, "/bin/prep", "exit code 1", returncode=1)

    fake = FakeFactory(program=exits())
    spec = Spec(
        root=Root(path="/rootfs"),
        process=Process(args=("x",), cwd="/"),
        hooks=Hooks(create_runtime=(Hook(path="/bin/prep"),), poststop=(Hook(path="/bin/clean"),)),
        linux=Linux(namespaces=(Namespace(type="pid"), Namespace(type="mount"))),
    )
    fake.create("web", spec)
    assert [(ran.kind, ran.path) for ran in fake.hooks_run] == [("createRuntime", "/bin/prep")]
    fake.hooks["/bin/prep"] = fail
    with pytest.raises(HookError):
        fake.create("other", spec)
    assert (fake.ids(), fake.hooks_run[-1].path) == (["web"], "/bin/clean")


# -- time -------------------------------------------------------------------------------------------------------------


def test_the_time_can_be_ours():
    fake = FakeFactory(program=exits(1, after=10))
    fake.autojump = False
    container = fake.create("web")
    container.start()
    fake.advance(9)
    assert container.status is Status.RUNNING
    fake.advance(1)
    assert container.status is Status.STOPPED


def test_what_happens_while_one_sleeps():
    fake = FakeFactory()
    container = fake.create("web", program=[prints(b"a"), prints(b"b", after=4), runs_forever()], stdout=DEVNULL)
    container.start()
    fake.sleep(3)
    assert (fake.output("web"), fake.now()) == (b"a", 3)
    fake.sleep(3)
    assert (fake.output("web"), fake.now()) == (b"ab", 6)


def test_threads_that_wait_together():
    fake = FakeFactory()
    container = fake.create("web", program=exits(1, after=5))
    container.start()
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(container.wait(60))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (seen, fake.now()) == ([ExitStatus(1)] * 3, 5)


def test_who_would_hang_is_told():
    fake = FakeFactory()
    container = fake.create("web")
    container.start()
    with pytest.raises(RuntimeError, match="waits for ever"):
        container.wait()
    container.kill()
    assert container.wait() == ExitStatus(-9)


def test_a_paused_one_does_nothing():
    fake = FakeFactory(program=exits(1, after=5))
    container = fake.create("web")
    container.start()
    container.pause()
    with pytest.raises(ContainerTimeout):
        container.wait(60)
    container.resume()
    assert (container.wait(), fake.now()) == (ExitStatus(1), 60)


# -- commands ---------------------------------------------------------------------------------------------------------


def test_what_a_command_reads_and_writes():
    fake = FakeFactory(programs={"cat": cat, "noise": prints(b"out", stderr=b"err")})
    assert run(["cat"], input="hällo", text=True, factory=fake).stdout == "hällo"
    result = run(["noise"], factory=fake)
    assert (result.stdout, result.stderr, result.outcome) == (b"out", b"err", Outcome.EXITED)
    with pytest.raises(CommandFailed):
        run(["false"], check=True, factory=FakeFactory(program=exits(1)))


def test_more_than_a_pipe_can_hold():
    fake = FakeFactory(programs={"much": prints(b"x" * 300_000), "cat": cat})
    assert len(run(["much"], factory=fake).stdout) == 300_000
    result = run(["much"], max_output=10, factory=fake)
    assert (result.stdout, result.truncated) == (b"x" * 10, True)
    assert run(["cat"], input=b"y" * 300_000, factory=fake).stdout == b"y" * 300_000


def test_a_reader_that_goes_away():
    fake = FakeFactory(program=[prints(b"a"), prints(b"b", after=1), exits(0)])
    with Sandbox(factory=fake) as sandbox, sandbox.spawn(["x"], stdout=PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"a"
        process.stdout.close()
        assert process.wait() == -13


def test_output_goes_into_files_too(tmp_path):
    fake = FakeFactory(program=[reads_stdin(), prints(b"done")])
    (tmp_path / "in").write_bytes(b"x")
    with open(tmp_path / "in", "rb") as given, open(tmp_path / "out", "wb") as file:
        container = fake.create("web", stdin=given, stdout=file)
        container.start()
        container.wait()
    assert (tmp_path / "out").read_bytes() == fake.output("web") == b"done"


def test_a_timeout_kills():
    fake = FakeFactory(program=[prints(b"begun"), runs_forever()])
    with pytest.raises(ContainerTimeout) as raised:
        run(["x"], timeout=30, factory=fake)
    result = raised.value.result
    assert result is not None
    assert (result.outcome, result.stdout, result.duration) == (Outcome.TIMEOUT, b"begun", 30)
    assert (fake.now(), fake.ids(), fake.memory.host.cgroups) == (30, [], {})


def test_one_that_was_killed_and_one_that_died():
    fake = FakeFactory(programs={"fault": dies("SEGV"), "long": exits(0, after=9)})
    result = run(["fault"], factory=fake)
    assert (result.outcome, result.signal) == (Outcome.SIGNALED, 11)
    with Sandbox(factory=fake) as sandbox:
        process = sandbox.spawn(["long"])
        process.kill()
        assert process.wait() == -9


def test_communicate_late_and_again():
    fake = FakeFactory(programs={"slow": [prints(b"a"), prints(b"b", after=5)]})
    with Sandbox(factory=fake) as sandbox:
        process = sandbox.spawn(["slow"], stdout=PIPE, stderr=PIPE)
        with pytest.raises(ContainerTimeout):
            process.communicate(timeout=1)
        assert process.communicate() == (b"ab", b"")
        assert (process.returncode, fake.now()) == (0, 5)
        assert list(sandbox.spawn(["slow"], stdout=PIPE).stream()) == [("stdout", b"a"), ("stdout", b"b")]


def test_a_callable_sees_how_it_was_called():
    seen = []

    def program(call):
        seen.append((call.args, call.env["NAME"], call.now()))
        return 3

    fake = FakeFactory(program=program)
    fake.sleep(2)
    assert run(["a", "b"], env={"NAME": "x"}, factory=fake).returncode == 3
    assert seen == [(("a", "b"), "x", 2)]


def test_a_callable_that_breaks():
    def program(call):
        raise LookupError("nobody knows")

    result = run(["x"], text=True, factory=FakeFactory(program=program))
    assert result.returncode == 1
    assert "LookupError: nobody knows" in result.stderr
    with pytest.raises(TypeError, match="a program is"):
        FakeFactory(program="sleep 5")  # type: ignore[arg-type]  # that is the test


# -- limits -----------------------------------------------------------------------------------------------------------


def test_memory_runs_out():
    fake = FakeFactory(programs={"hog": eats_memory("1G"), "small": [eats_memory("10M"), exits(0)]})
    result = run(["hog"], memory="64M", factory=fake)
    assert (result.outcome, result.returncode, result.oom_kills) == (Outcome.OOM, -9, 1)
    assert result.usage.peak_memory_bytes == 64 << 20
    assert run(["small"], memory="64M", factory=fake).outcome is Outcome.EXITED
    assert run(["hog"], factory=fake).returncode == 0


def test_the_largest_is_killed():
    fake = FakeFactory(
        programs={"large": [eats_memory("40M"), runs_forever()], "small": [eats_memory("30M"), exits(0)]}
    )
    with Sandbox(factory=fake, memory="64M") as sandbox:
        large = sandbox.spawn(["large"])
        result = sandbox.run(["small"])
        # as the kernel counts it: one of the container was killed meanwhile, but this one has exited
        assert (result.outcome, result.oom_kills) == (Outcome.EXITED, 1)
        assert large.wait() == -9
        assert sandbox.container.stats().memory.oom_kills == 1


def test_processes_run_out():
    fake = FakeFactory(programs={"fork": [starts(3), exits(0)], "long": runs_forever()})
    result = run(["fork"], pids=3, factory=fake)
    assert (result.returncode, result.stderr) == (1, b"cannot fork: Resource temporarily unavailable\n")
    assert run(["fork"], pids=4, factory=fake).returncode == 0
    with Sandbox(factory=fake, pids=1) as sandbox:
        sandbox.spawn(["long"])
        with pytest.raises(StartError, match="temporarily unavailable"):
            sandbox.spawn(["long"])
        pids = sandbox.container.stats().pids
        assert pids is not None
        assert (pids.current, pids.limit, pids.refused) == (2, 3, 1)


def test_statistics_move_with_the_clock():
    fake = FakeFactory()
    container = fake.create("web", limited(cpu=CPU(quota=50_000, period=100_000)), program=runs_forever(cpus=2))
    container.start()
    samples = container.watch_stats(10)
    assert [round(next(samples).cpu_percent) for _ in range(3)] == [50, 50, 50]
    assert container.stats().cpu.usage_ns == pytest.approx(15e9)
    assert container.stats().cpu.throttled_ns > 0
    container.update(Resources(cpu=CPU(quota=100_000, period=100_000)))
    assert round(next(samples).cpu_percent) == 100
    container.pause()
    before = container.stats().cpu.usage_ns
    fake.sleep(10)
    assert container.stats().cpu.usage_ns == before


def test_work_takes_longer_with_a_quota():
    fake = FakeFactory(program=works(10))
    assert run(["x"], factory=fake).duration == pytest.approx(10)
    result = run(["x"], cpus=0.25, factory=fake)
    assert result.duration == pytest.approx(40)
    assert result.usage.cpu_seconds == pytest.approx(10)


def test_events():
    fake = FakeFactory()
    spec = limited(memory=Memory(limit=64 << 20), pids=Pids(limit=10))
    container = fake.create("web", spec, program=[sleeps(1), eats_memory("1G")])
    with container.events() as events:
        container.start()
        fake.press_memory("web", "medium")
        assert {*events.ready()} == {Started("web"), MemoryPressure("web", "medium")}
        assert [*events] == [OutOfMemory("web"), OomKill("web"), Exited("web", ExitStatus(-9, 1))]
    assert fake.now() == 1


def test_by_another_hand():
    fake = FakeFactory()
    for name in ("a", "b"):
        fake.create(name).start()
    fake.end("a", 4)
    fake.run_out_of_memory("b")
    assert fake.load("a").wait() == ExitStatus(4)
    assert fake.load("b").wait() == ExitStatus(-9, 1)
    with pytest.raises(LookupError):
        fake.end("c")


def test_nothing_stays_open():
    fake = FakeFactory(programs={"cat": cat, "long": runs_forever()})
    run(["cat"], input=b"x", factory=fake)
    with Sandbox(factory=fake) as sandbox:
        sandbox.run(["cat"], input=b"x")
        with pytest.raises(ContainerTimeout):
            sandbox.run(["long"], timeout=1)
    assert fake.memory.host.medium.opened == 0


def test_several_processors():
    fake = FakeFactory(program=works(10, cpus=2))
    assert run(["x"], factory=fake).duration == pytest.approx(5)
    # the quota is shared by those who want some
    with Sandbox(factory=fake, cpus=1) as sandbox:
        begun = fake.now()
        pair = [sandbox.spawn(["x"]) for _ in range(2)]
        assert [process.wait() for process in pair] == [0, 0]
        assert fake.now() - begun == pytest.approx(20)
