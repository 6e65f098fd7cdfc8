# SPDX-License-Identifier: Apache-2.0
"""A phone that was never here, on a good line: when it sees the first times, and what jumps after that."""

from playwright.async_api import Page, ViewportSize

PHONE: ViewportSize = {"width": 390, "height": 844}
CPU_SLOWDOWN = 4
# 4G: 40 ms to and fro, ten megabits down and five up.
NETWORK = {"offline": False, "latency": 40, "downloadThroughput": 1_250_000, "uploadThroughput": 625_000}
# When the first times were in a frame that was drawn; each shift of the layout, and when.
WATCH = """window.moves = []; window.seen = 0
new PerformanceObserver((list) => list.getEntries().forEach((one) => moves.push([one.startTime, one.value])))
  .observe({ type: 'layout-shift', buffered: true })
const look = () => document.querySelector('.hf-time')
  ? requestAnimationFrame(() => { seen = performance.now() }) : requestAnimationFrame(look)
look()"""


def until(told: str) -> str:
    """A promise of the first answer that is something: Playwright's own waiting evaluates texts, which our policy forbids."""
    return f"new Promise((done) => {{ const look = setInterval(() => {{ const now = {told}; if (now) {{ clearInterval(look); done(now) }} }}, 10) }})"


async def slowed(page: Page) -> None:
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send("Network.emulateNetworkConditions", NETWORK)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWDOWN})


async def first_times(page: Page, address: str) -> tuple[float, float]:
    """(when the first times are seen, in milliseconds; how far the layout has shifted after that, as browsers count it)."""
    await slowed(page)
    await page.add_init_script(WATCH)
    await page.goto(address, wait_until="commit")
    shown: float = await page.evaluate(until("seen"))
    await page.wait_for_timeout(1500)
    jumps: float = await page.evaluate(
        "moves.filter(([at]) => at > seen).reduce((sum, [, by]) => sum + by, 0)"
    )
    await page.context.close()
    return shown, jumps
