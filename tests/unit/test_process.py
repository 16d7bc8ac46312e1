# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs and pipelines: what a failure tells, who is blamed for it, and that nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import Command, Completed, Pipeline, run

ROOT = Path(__file__).resolve().parents[2]


def sh(script: str) -> Command:
    return Command(["sh", "-c", script])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(condition: object, seconds: float = 10) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def feed(pipeline: Pipeline) -> None:
    for _time in range(1000):
        pipeline.stdin.write(b"x" * 100000)


def test_run_returns_output_and_last_words() -> None:
    done = run(["sh", "-c", "cat; echo careful >&2"], stdin=b"\x00data")
    assert (done.status, done.stdout, done.stderr) == (0, b"\x00data", "careful\n")


def test_failure_tells_command_status_and_last_lines() -> None:
    script = "for n in $(seq 1 50); do echo line $n >&2; done; exit 3"
    with pytest.raises(ToolError) as caught:
        run(["sh", "-c", script])
    assert "failed with exit status 3" in caught.value.cause
    assert caught.value.cause.endswith("line 49\nline 50")
    assert "line 12\n" not in caught.value.cause


def test_death_by_signal_is_named() -> None:
    with pytest.raises(ToolError, match="was killed by signal SIGKILL and said nothing"):
        run(["sh", "-c", "kill -9 $$"])


def test_unchecked_failure_is_returned() -> None:
    assert run(["sh", "-c", "exit 7"], check=False).status == 7


def test_missing_program_names_the_package() -> None:
    with pytest.raises(ToolError) as caught:
        run(["/nonexistent/bin/pg_dump"])
    assert "not installed" in caught.value.cause
    assert "postgresql-client" in caught.value.hint


def test_file_that_is_no_program_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "broken").chmod(0o755)
    with pytest.raises(ToolError, match="broken cannot be run"):
        run([str(tmp_path / "broken")])


def test_unknown_user_is_told() -> None:
    with pytest.raises(InputError, match="no user 'nobody-of-that-name'"):
        run(["true"], user="nobody-of-that-name")


def test_timeout_kills_children_and_grandchildren(tmp_path: Path) -> None:
    script = "sleep 300 & echo $! > %s/pid; wait" % tmp_path
    started = time.monotonic()
    with pytest.raises(ToolError, match=r"did not finish within 0\.5 seconds"):
        run(["sh", "-c", script], timeout=0.5)
    assert time.monotonic() - started < 5
    pid = int((tmp_path / "pid").read_text())
    assert wait_until(lambda: not alive(pid))


def test_environment_is_clean_but_for_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "ambient secret")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    names = dict(line.split("=", 1) for line in run(["env"], env={"PGHOST": "db"}).stdout.decode().splitlines())
    assert names.pop("PWD", "/") == "/"
    assert set(names) <= {"PATH", "HOME", "LANG", "LC_ALL", "PGHOST", "_", "SHLVL"}
    assert (names["PGHOST"], names["LC_ALL"]) == ("db", "C.UTF-8")
    assert "/usr/bin" in names["PATH"].split(":")


def test_programs_start_where_every_user_may_be() -> None:
    assert run(["pwd"]).stdout == b"/\n"


def test_find_program_prefers_the_given_folder(tmp_path: Path) -> None:
    own = tmp_path / "sh"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert _process.find_program("sh", [str(tmp_path)]) == str(own)
    assert _process.find_program("sh") != str(own)
    assert _process.find_program("no-such-program-anywhere") is None


def test_find_program_knows_the_system_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert _process.find_program("sh")


BROKEN_PIPE = "zstd: error 70 : Write error : cannot write block : Broken pipe"


@pytest.mark.parametrize(
    ("ended", "culprit"),
    [
        ([(0, ""), (0, "")], None),
        ([(1, "server gone"), (0, "")], 0),
        ([(0, ""), (1, "disk full")], 1),
        ([(-signal.SIGPIPE, ""), (1, "disk full")], 1),
        ([(128 + signal.SIGPIPE, ""), (1, "disk full")], 1),
        ([(70, BROKEN_PIPE), (1, "bad archive")], 1),
        ([(1, "corrupt frame"), (1, "unexpected end of file")], 0),
        ([(-signal.SIGPIPE, ""), (-signal.SIGPIPE, ""), (2, "no")], 2),
        ([(-signal.SIGPIPE, ""), (0, "")], 0),
        ([(-signal.SIGPIPE, ""), (-signal.SIGKILL, "")], 1),
    ],
)
def test_the_culprit_is_who_failed_by_itself(ended: list[tuple[int, str]], culprit: int | None) -> None:
    programs = [Completed(["p%d" % n], status, b"", said) for n, (status, said) in enumerate(ended)]
    found = _process.find_culprit(programs)
    assert (found.argv if found else None) == (None if culprit is None else ["p%d" % culprit])


def test_pipeline_carries_bytes_unchanged_both_ways() -> None:
    data = bytes(range(256)) * 4000
    with Pipeline([Command(["cat"]), Command(["gzip", "-1"]), Command(["gzip", "-d"])], stdin=True) as pipeline:
        writer = threading.Thread(target=lambda: (pipeline.stdin.write(data), pipeline.stdin.close()))
        writer.start()
        assert pipeline.stdout.read() == data
        writer.join()
        assert [done.status for done in pipeline.finish()] == [0, 0, 0]


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ([sh("echo half; echo lost the server >&2; exit 1"), sh("cat")], "lost the server"),
        ([sh("yes"), sh("head -c 10; echo no space >&2; exit 4")], "no space"),
        ([sh("yes"), sh("cat"), sh("exec 0<&-; echo third >&2; exit 5")], "third"),
    ],
    ids=["first", "second", "third of three"],
)
def test_pipeline_blames_the_culprit(commands: list[Command], said: str) -> None:
    with pytest.raises(ToolError) as caught, Pipeline(commands) as pipeline:  # noqa: PT012
        pipeline.stdout.read()
        pipeline.finish()
    assert said in caught.value.cause


def test_writer_learns_why_its_reader_died() -> None:
    pipeline = Pipeline([sh("echo archive is broken >&2; exit 1")], stdin=True, stdout=False)
    with pytest.raises(ToolError, match="archive is broken"), pipeline:
        feed(pipeline)


def test_reader_that_stops_early_with_success_is_no_success() -> None:
    pipeline = Pipeline([sh("head -c 1")], stdin=True, stdout=False)
    with pytest.raises(ToolError, match="stopped reading before the end"), pipeline:
        feed(pipeline)


def test_leaving_without_reading_the_output_is_an_error() -> None:
    with pytest.raises(ToolError, match="SIGPIPE"), Pipeline([sh("exec yes")]) as pipeline:
        pipeline.stdout.read(10)


def test_a_talkative_child_does_not_block() -> None:
    with Pipeline([sh("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo; echo the end >&2; exit 1")]) as pipeline:
        pipeline.stdout.read()
        ended = pipeline.finish(timeout=20, check=False)
    assert len(ended[0].stderr) <= 70000
    assert ended[0].stderr.endswith("the end\n")


def test_exception_kills_all_of_them(tmp_path: Path) -> None:
    script = "trap '' TERM; echo $$ >> %s/pids; sleep 300 & echo $! >> %s/pids; wait" % (tmp_path, tmp_path)
    commands = [sh(script), sh(script)]
    pids = tmp_path / "pids"
    with pytest.raises(KeyError), Pipeline(commands):  # noqa: PT012
        assert wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 4)
        raise KeyError("something else went wrong")
    left = [int(pid) for pid in pids.read_text().split()]
    assert wait_until(lambda: not any(alive(pid) for pid in left))


def test_finish_gives_up_after_its_timeout() -> None:
    with pytest.raises(ToolError, match="did not finish within"), Pipeline([sh("exec >&-; sleep 300")]) as pipeline:  # noqa: PT012
        assert pipeline.stdout.read() == b""
        pipeline.finish(timeout=0.3)


def test_failing_start_leaves_no_first_program(tmp_path: Path) -> None:
    first = sh("echo $$ > %s/pid; exec sleep 300" % tmp_path)
    with pytest.raises(ToolError, match="not installed"), Pipeline([first, Command(["/nonexistent/zstd"])]):
        raise AssertionError("it must not start")
    if (tmp_path / "pid").exists():
        assert wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_children_die_with_a_killed_process(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, %r)\n"
        "from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import Command, Pipeline\n"
        "with Pipeline([Command(['sh', '-c', 'echo $$ > %s/pid; exec sleep 300'])]) as pipeline:\n"
        "    pipeline.stdout.read()\n" % (str(ROOT / ".collections"), tmp_path)
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    pid = tmp_path / "pid"
    assert wait_until(lambda: pid.exists() and pid.read_text().strip())
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not alive(int(pid.read_text())))


def test_descriptors_are_inherited_only_when_named() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"secret")
    os.close(writer)
    try:
        assert run(["sh", "-c", "test -e /proc/self/fd/%d" % reader], check=False).status != 0
        assert run(["sh", "-c", "cat /proc/self/fd/%d" % reader], pass_fds=[reader]).stdout == b"secret"
    finally:
        os.close(reader)


def test_becoming_a_user_is_complete() -> None:
    if os.geteuid() == 0:
        said = run(["sh", "-c", "id -un; id -G; echo $HOME $USER"], user="nobody").stdout.decode().split("\n")
        assert said[0] == "nobody"
        assert "0" not in said[1].split()
        assert said[2].endswith(" nobody")
    else:
        with pytest.raises(ToolError, match="as user root"):
            run(["true"], user="root")
