"""Changing the policy of an open store, and keeping the books of what the change costs.

A switch is one edit of the manifest: the new policy and the report of the transition. From then on ordinary compactions walk
the tree to its new shape, paid bytes going into the edit of the very task that paid them; nothing stops, and a crash at any
point finds the transition where the last installed task left it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lsmkv.errors import InvalidArgumentError, LsmError
from lsmkv.live.core import Core
from lsmkv.maintain.install import install
from lsmkv.maintain.look import seen_shape
from lsmkv.options import Options
from lsmkv.policy.base import Policy, Task
from lsmkv.policy.registry import describe_policy
from lsmkv.policy.transition import Debt, Pace, TransitionReport, debt, debt_blocks
from lsmkv.version.edit import VersionEdit
from lsmkv.version.shape import TreeShape
from lsmkv.version.version import apply as apply_edit_to

__all__ = ["current_report", "paid", "planned", "switch", "switch_event", "switch_if", "tell_if_done"]


def planned(core: Core, before: dict[str, object], policy: Policy, pace: Pace) -> TransitionReport:
    """What it takes to go from the tree as it is to ``policy``.

    Raises InvalidArgumentError for a policy that fails on this tree, or never comes to rest.
    """
    predicted = _debt(core, seen_shape(core), policy)
    return TransitionReport(
        from_policy=before,
        to_policy=describe_policy(policy),
        pace=pace,
        predicted=predicted,
        paid_bytes=0,
        paid_blocks=0,
        paid_steps=0,
        remaining=predicted,
        done=predicted.steps == 0,
    )


def _debt(core: Core, shape: TreeShape, policy: Policy) -> Debt:
    """The debt of a tree under a policy."""
    try:
        return debt(replace(shape, patient=False), policy, block_bytes=core.options.block_bytes)
    except LsmError:
        raise
    except Exception as error:
        raise InvalidArgumentError(f"policy {policy!r} fails on this tree: {error!r}") from error


def switch(core: Core, policy: Policy, pace: Pace) -> TransitionReport:
    """Make ``policy`` the one that shapes the tree from now on (with no compaction in flight).

    Raises as :func:`planned`, PoisonedError, IOFailedError; the old policy then stays.

    I/O: one manifest edit.
    """
    report = switch_if(core, lambda _: True, policy, pace)
    assert report is not None
    return report


def switch_if(core: Core, holds: Callable[[Options], bool], policy: Policy, pace: Pace) -> TransitionReport | None:
    """:func:`switch` if the options in force are as the caller thinks, when it comes to that; None: they are not.

    Raises as :func:`switch`. I/O: as there.
    """
    core.check_poison()
    report = planned(core, describe_policy(core.policy), policy, pace)
    with core.install_lock:
        if not holds(core.options):
            return None
        before = core.ledger.at_switch
        if report.from_policy != report.to_policy:  # asking for the one that is there, at another pace perhaps, changes none
            core.ledger.note_switch()
        try:
            install(core, VersionEdit(policy=report.to_policy, transition=report.to_dict(), ledger=core.ledger.record()))
        except LsmError:  # the old policy stays, and what it cost goes on being counted
            core.ledger.at_switch = before
            raise
        core.policy, core.transition = policy, report
        core.note("switch", switch_event(report))
        tell_if_done(core, report)
    return report


def paid(core: Core, task: Task, edit: VersionEdit) -> TransitionReport | None:
    """The report when ``task`` is done and ``edit`` installed; None if no transition is under way (install lock held)."""
    report = core.transition
    if report is None or report.done:
        return None
    after = replace(seen_shape(core), levels=apply_edit_to(core.state.shape, edit).levels)
    try:
        remaining = _debt(core, after, core.policy)
    except InvalidArgumentError:  # a policy that came to rest when it was chosen and does not now: its picks will tell
        remaining = report.remaining
    return replace(
        report,
        paid_bytes=report.paid_bytes + task.debt,
        paid_blocks=report.paid_blocks + debt_blocks(core.state.shape, task, core.options.block_bytes),
        paid_steps=report.paid_steps + bool(task.debt),
        remaining=remaining,
        done=remaining.steps == 0,
    )


def current_report(core: Core) -> TransitionReport | None:
    """The transition under way with what is left of it now, or the last one that ended. I/O: none."""
    report = core.transition
    if report is None or report.done:
        return report
    try:
        return replace(report, remaining=_debt(core, seen_shape(core), core.policy))
    except InvalidArgumentError:
        return report


def switch_event(report: TransitionReport) -> dict[str, object]:
    """What the event log says of a switch."""
    predicted = report.predicted
    return {
        "from": report.from_policy,
        "to": report.to_policy,
        "pace": report.pace,
        "debt_bytes": predicted.bytes,
        "debt_blocks": predicted.blocks,
        "debt_steps": predicted.steps,
    }


def tell_if_done(core: Core, report: TransitionReport | None) -> None:
    """Note the end of a transition in the event log."""
    if report is None or not report.done:
        return
    fields: dict[str, object] = {
        "to": report.to_policy,
        "predicted_bytes": report.predicted.bytes,
        "predicted_blocks": report.predicted.blocks,
        "predicted_steps": report.predicted.steps,
        "paid_bytes": report.paid_bytes,
        "paid_blocks": report.paid_blocks,
        "paid_steps": report.paid_steps,
    }
    core.note("switched", fields)
