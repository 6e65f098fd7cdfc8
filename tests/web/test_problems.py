# SPDX-License-Identifier: Apache-2.0
"""A refusal as it is written. The last one is kept, so one must never be told for another."""

import msgspec

from holdfirst.refusal import Code, Refusal
from holdfirst.web.problems import body_of

URL = "https://book.example"


def test_each_refusal_is_told_by_itself() -> None:
    taken = Refusal(Code.SLOT_TAKEN, "Taken.", {"slots": []})
    twin = Refusal(Code.SLOT_TAKEN, "Taken.", {"slots": [{"seats_left": 1}]})
    busy = Refusal(Code.BUSY)
    for one, slots in ((taken, []), (taken, []), (twin, [{"seats_left": 1}]), (taken, []), (busy, None)):
        told = msgspec.json.decode(body_of(one, URL))
        assert (told["code"], told.get("slots")) == (one.code, slots)
        assert told["type"] == f"{URL}/docs/refusals#{one.code}"
    assert b"https://other.example/docs" in body_of(busy, "https://other.example")
