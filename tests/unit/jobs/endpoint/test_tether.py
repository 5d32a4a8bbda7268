"""A program that dies with the process that started it."""

import subprocess
import sys
import time
from pathlib import Path

from segray.jobs.endpoint import tether

PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-I", "-S", {tether.__file__!r}, *sys.argv[1:]])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_the_program_takes_its_arguments_and_gives_its_status():
    command = [sys.executable, tether.__file__, "/bin/sh", "-c", 'echo "$1"; exit 3', "sh", "two words"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("two words\n", 3)


def test_it_dies_with_a_parent_that_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, "/bin/sleep", "600"], stdout=subprocess.PIPE, text=True)
    with parent:
        command = Path("/proc", parent.stdout.readline().strip(), "cmdline")
        within(lambda: command.read_bytes().startswith(b"/bin/sleep"))
        parent.kill()
    within(lambda: not command.exists() or not command.read_bytes())


def within(true, seconds=30):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)
