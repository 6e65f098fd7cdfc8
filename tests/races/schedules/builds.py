# SPDX-License-Identifier: Apache-2.0
"""Two builds of functions.sql from one text: production, where a `--gate: name` is a comment, and the laboratory's,
where it is a stop.
"""

import re
from importlib import resources

PRODUCTION = (resources.files("holdfirst.store") / "functions.sql").read_text()
MARK = re.compile(r"^( *)--gate: (\w+)$", re.MULTILINE)
STOP = re.compile(r"^( *)perform lab\.stop\('(\w+)'\); --gate: \2$", re.MULTILINE)
NAMES = [name for _, name in MARK.findall(PRODUCTION)]
CLOCK = re.compile(
    r"^create or replace function the_clock\(\).*?\nas \$\$.*?\$\$;$", re.MULTILINE | re.DOTALL
)


def laboratory(text: str) -> str:
    """The same functions with a stop at each mark; the clock is the laboratory's own."""
    assert len(set(NAMES)) == len(NAMES), "two gates have one name"

    def stop(mark: re.Match[str]) -> str:
        return f"{mark[1]}perform lab.stop('{mark[2]}'); --gate: {mark[2]}"

    without_clock, clocks = CLOCK.subn("", text)
    assert clocks == 1, "the clock is not there once"
    return MARK.sub(stop, without_clock)


def production(text: str) -> str:
    """What the laboratory's text is without its stops."""
    return STOP.sub(r"\1--gate: \2", text)
