"""The command line: bad input is one clear line that names the cure, exit code 2, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from hypervisor.public.domctl import PhysicalInfo, Physinfo
from hypervisor.public.protocol import FROM_HYPERVISOR, Answer, Call, Hello, Welcome, encode
from hypervisor.transport import Client
from launch.cli import main
from tests.launch.cluster_runs import PATIENCE, SMALL, claimlab, wait_until, write_scenario

BAD = [
    (["run", "nosuch"], "nosuch: no such scenario file"),
    (["run", "--scheme", "clam"], 'no scheme "clam"'),
    (["run", "--set", "guests.cuont=3"], "did you mean guests.count?"),
    (["run", "--set", "guests.memory=9GiB"], "lower guests.count to 1 or raise host.memory"),
    (["run", "--set", "release=4.5"], "--set release"),
    (["run", "--set", "speed=0"], "speed: must be 0.001 or more"),
    (["run", "--set", "host.name=.."], "--set host.name: must be letters"),
    (["run", "--scheme", "claim,claim"], '--scheme: "claim" is named twice'),
    (["run", "--scheme", ":X"], "--scheme: scheme ':X': write module:Class"),
    (["run", "--scheme", "os:path"], "--scheme: scheme 'os:path': is no class"),
    (["run", "--scheme", "toolstack.clamp:ClampParameters"], "--scheme: scheme 'toolstack"),
    (["run", "--set", "scheme.clamp.cuts=some"], "scheme 'clamp'"),
    (["run", "--set", "scheme.naive.hope=1"], "takes no parameters"),
    (["run", "--scheme", "no.such.module:Thing"], "is the module on PYTHONPATH?"),
    (["run", "borg"], "add --set guests.trace=FOLDER"),
    (["run", "--set", "guests.behaviour=lazy"], "lazy"),
    (["run", "--frobnicate"], "claimlab --help tells more"),
    (["conform", "nosuch.jsonl"], "nosuch.jsonl"),
    (["run", "--set", "links={loss=2}"], "links.loss: must be below 1, not 2"),
    (["run", "--set", 'faults=[{kind="kill", party="nobody", at=3}]'], "toolstack-0, guest-1, launch-1"),
    (["compare", "--best", "nosuch"], "--best nosuch: no such figure"),
    (["check-toolstack", "--builder", "x", "--", "true"], "--builder x: not known"),
    (["shell", "/etc/hostname", "-c", "list"], "no hypervisor runs there"),
    (["fly"], "claimlab --help tells more"),
    ([], "name one of run, "),
]


@pytest.mark.parametrize(("arguments", "cure"), BAD, ids=[" ".join(one) for one, _ in BAD])
def test_bad_usage_is_one_line(
    arguments: list[str],
    cure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, nothing on standard output, one line on standard error, no folder made."""
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    output, errors = capfd.readouterr()
    assert output == ""
    assert all(cure.split(maxsplit=1)[0] in line or cure in errors for line in errors.strip().splitlines())
    assert cure in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_a_fault_in_a_file_names_its_line(tmp_path: Path) -> None:
    """File, line, key and cure."""
    path = write_scenario(tmp_path, SMALL.replace("count = 4\nmemory", "coutn = 4\nmemory"))
    done = claimlab("run", path)
    assert done.returncode == 2
    assert f"{path}:13: guests.coutn: unknown key; did you mean guests.count?" in done.stderr


def test_a_trace_with_a_missing_column(tmp_path: Path) -> None:
    """The file and the column are named."""
    trace = tmp_path / "instance.csv"
    trace.write_text("time,avg_memory_usage\n0,0.1\n", encoding="utf-8")
    done = claimlab("run", "borg", "--set", f"guests.trace={trace}", "--set", "arrivals.trace=.")
    assert done.returncode == 2
    assert "guests.trace" in done.stderr
    assert str(trace) in done.stderr


def test_too_few_file_descriptors(tmp_path: Path) -> None:
    """A run that needs more descriptors than the hard limit gives says which ulimit it needs."""
    command = f"ulimit -n 128; exec {sys.executable} -m launch run {write_scenario(tmp_path)}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 2
    assert "ulimit -n" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_serve_that_cannot_listen_leaves_nothing(tmp_path: Path) -> None:
    """An address that cannot be had is one line, and the folder made for it is gone; one's own stays."""
    own = tmp_path / "o"
    own.mkdir(mode=0o700)
    if len(os.fsencode(own)) > 90:
        pytest.skip("the temporary folder's path is too long for a socket")
    with tempfile.TemporaryDirectory(prefix="c") as temporary:  # short, because sockets would lie in it
        for directory in ([], ["--dir", own]):
            environment = {**os.environ, "TMPDIR": temporary}
            done = claimlab("serve", "--tcp", "no such host", *directory, env=environment)
            assert done.returncode == 2, done.stderr
            assert "choose another address" in done.stderr and len(done.stderr.splitlines()) == 1
        assert os.listdir(temporary) == []
    assert own.is_dir()


@pytest.mark.parametrize("tcp", [False, True])
def test_serve_lets_a_stranger_in(tmp_path: Path, tcp: bool) -> None:
    """`claimlab serve` prints where to connect; a client that knows the secret gets its answer."""
    folder = tmp_path / "s"
    command = [sys.executable, "-m", "launch", "serve", "--dir", str(folder), "--json"]
    if len(os.fsencode(folder)) > 90:
        pytest.skip("the temporary folder's path is too long for a socket")
    serving = subprocess.Popen(
        command + (["--tcp", "127.0.0.1"] if tcp else []),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        told = json.loads(serving.stdout.readline())
        secret = bytes.fromhex(Path(told["control_secret_file"]).read_text())
        assert Path(told["control_secret_file"]).stat().st_mode & 0o077 == 0
        client = Client()
        dealer = client.connect(told["toolstacks"])
        dealer.send([encode(Hello(1, 0, 5, secret)), encode(Call(0, 5, 1, (Physinfo(),)))])
        frames: list[bytes] = []
        wait_until(lambda: frames.extend(dealer.receive()) or len(frames) >= 2)
        welcome, answer = (FROM_HYPERVISOR.decode(frame) for frame in frames)
        client.close()
    finally:
        serving.send_signal(signal.SIGINT)
        _, errors = serving.communicate(timeout=PATIENCE)
    assert serving.returncode == 0, errors
    assert isinstance(welcome, Welcome)
    assert isinstance(answer, Answer)
    assert isinstance(answer.replies[0].value, PhysicalInfo)
    assert answer.replies[0].value.total_pages == 16 * 262_144
    stats = msgspec.json.decode((folder / "hypervisor.json").read_bytes())
    assert stats["violations"] == []
    assert not list(folder.glob("*.sock")) + list(folder.glob("*.lock"))


def test_a_second_serve_leaves_the_first_alone(tmp_path: Path) -> None:
    """In the folder of a running hypervisor nothing is touched, and the cure is named."""
    folder = tmp_path / "s"
    command = [sys.executable, "-m", "launch", "serve", "--dir", str(folder), "--json"]
    if len(os.fsencode(folder)) > 90:
        pytest.skip("the temporary folder's path is too long for a socket")
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        told = json.loads(first.stdout.readline())
        secret = Path(told["control_secret_file"]).read_text()
        second = claimlab("serve", "--dir", folder)
        assert second.returncode == 2
        assert "name another folder with --dir" in second.stderr
        assert Path(told["control_secret_file"]).read_text() == secret
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=PATIENCE)
    assert first.returncode == 0


@pytest.mark.parametrize(("name", "again"), [("claimlab", False), ("study.py", True)])
def test_children_do_not_run_the_script_claimlab_again(tmp_path: Path, name: str, again: bool) -> None:
    """A thousand children need nothing of it; of anybody else's script they may need the classes."""
    script = tmp_path / name
    script.write_text(
        "from multiprocessing.spawn import get_preparation_data\n"
        "from launch.cli import main\n"
        "main(['--version'])\n"
        "print('init_main_from_path' in get_preparation_data('child'))\n",
        encoding="utf-8",
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == str(again)
