import subprocess
import sys

CODE = """
import os, signal
from segray.cli.common import interruptible
with interruptible():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    finally:
        print("cleaned up", flush=True)
"""


def test_a_job_that_gets_sigterm_cleans_up():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "cleaned up\n")
