# SPDX-License-Identifier: Apache-2.0
"""`holdfirst doctor`: what disagrees, in words; `--repair` does what is safe."""

from holdfirst.effects import examine_calendars as calendars
from holdfirst.effects.compare import Difference, compare
from holdfirst.effects.compare import repair as repair_differences
from holdfirst.flows import wake
from holdfirst.store import checks
from holdfirst.store.checks import Finding
from holdfirst.store.database import Tx
from holdfirst.wiring import Parts
from holdfirst.worker import MONEY_KINDS

SHOWN_MAX = 10


async def examine(parts: Parts, *, repair: bool) -> tuple[bool, str]:
    """(healthy, a report for a person)."""
    database = parts.world.database
    lines = []
    if repair:
        revived = await database.run(_repair)
        lines.append(f"repair: {revived} given-up jobs run again; all open payments are asked about")
    differing = await compare(parts.world)
    if repair and differing:
        mended = await repair_differences(parts.world, differing)
        lines.append(f"repair: {mended} payments brought in line with what their providers say")
        differing = await compare(parts.world)
    found = [*await database.run(checks.findings), *_by_check(differing)]
    for finding in found:
        shown = " ".join(finding.ids[:SHOWN_MAX])
        more = f" and {len(finding.ids) - SHOWN_MAX} more" if len(finding.ids) > SHOWN_MAX else ""
        lines.append(f"{finding.check}: {finding.means}\n  {shown}{more}")
    if not await database.run(checks.workers_alive):
        lines.append(
            "note: no worker is running; holds still end by the clock, but nothing is captured or mailed"
        )
    if parts.settings.smtp_url is None:
        lines.append("note: HOLDFIRST_SMTP_URL is not set; mail is written to files in the data directory")
    if not found:
        lines.append("money, reservations, time and jobs agree")
    return not found, "\n".join(lines)


def _by_check(differing: list[Difference]) -> list[Finding]:
    """Differences of one kind are one finding."""
    kinds = {one.check: one.means for one in differing}
    return [
        Finding(check, means, [one.subject for one in differing if one.check == check])
        for check, means in kinds.items()
    ]


async def examine_calendars(parts: Parts, *, repair: bool) -> tuple[bool, str]:
    """(healthy, a report for a person): each connected calendar is called, and written to."""
    found = await calendars.examine(parts.world, repair=repair)
    lines = [*found.wrong, *(f"note: {one}" for one in found.notes)]
    if not found.wrong:
        lines.append("calendars agree with reservations")
    return not found.wrong, "\n".join(lines)


async def _repair(tx: Tx) -> int:
    revived = await checks.revive(tx)
    await wake.wake(tx, MONEY_KINDS)
    return revived
