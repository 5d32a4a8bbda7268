"""Run a program that dies with the process that started it: `python tether.py PROGRAM ARGUMENT ...`.

Knows Linux's parent-death signal. Runs as a file, so it imports the standard library alone.
"""

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def main(command: list[str]) -> None:
    """Replace this process by the command; the kernel kills it as soon as the parent is gone."""
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL)):
        raise OSError(ctypes.get_errno(), "cannot tie the program to the process that started it")
    # The signal is only sent for a death from here on.
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
