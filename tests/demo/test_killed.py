"""The demo survives SIGKILL at any moment."""

from __future__ import annotations


def test_killed_again_and_again_it_still_comes_to_its_end(start):
    """SIGKILL of the command, later each time; the next one goes on with whatever store was left behind."""
    for moment in ("computing the KV cache", "restoring the prefix, cold"):
        process = start("--keep")
        process.until(moment)
        process.kill()
        process.wait()
    last = start("--keep")
    out, err = last.communicate()
    assert last.returncode == 0, out + err
