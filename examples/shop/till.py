# SPDX-License-Identifier: Apache-2.0
"""A payment company of your own, made up: it stands for whatever takes your money today. PUT under your key is done once.

uvicorn till:app --port 8002
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

STEPS = {"capture": ("held", "charged"), "void": ("held", "voided"), "refund": ("charged", "refunded")}


def make_till() -> Starlette:
    payments: dict[str, dict[str, object]] = {}

    async def pay(request: Request) -> JSONResponse:
        """A card is held until it is captured; a bank transfer is charged at once."""
        wanted = await request.json()
        state = "held" if wanted["method"] == "card" else "charged"
        return JSONResponse(payments.setdefault(request.path_params["key"], wanted | {"state": state}))

    async def look(request: Request) -> JSONResponse:
        return JSONResponse(payments.get(request.path_params["key"], {"state": "none"}))

    async def move(request: Request) -> JSONResponse:
        """Once more is no other movement."""
        payment = payments[request.path_params["key"]]
        before, after = STEPS[request.path_params["verb"]]
        if payment["state"] not in (before, after):
            return JSONResponse({"why": f"it is {payment['state']}"}, 409)
        payment["state"] = after
        return JSONResponse(payment)

    return Starlette(
        routes=[
            Route("/payments/{key}", pay, methods=["PUT"]),
            Route("/payments/{key}", look),
            Route("/payments/{key}/{verb}", move, methods=["POST"]),
        ]
    )


app = make_till()
