# SPDX-License-Identifier: Apache-2.0
"""Somebody else's web site, for the demo: one page with every way to embed a booking page, on another origin."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

SAMPLE = {
    "slug": "first-consultation",
    "name": "First consultation",
    "description": (
        "We go through your situation in peace, and you leave with a plan of the next steps."
        " Bring the papers you have; nothing needs to be prepared."
    ),
    "duration_minutes": 50,
    "step_minutes": 60,
    "location": {"kind": "address", "value": "Long Street 12, Springfield"},
    "cancellation": [
        {"until_minutes_before": 1440, "refund_percent": 100},
        {"until_minutes_before": 120, "refund_percent": 50},
    ],
    "reschedule": {"until_minutes_before": 120, "times_max": 3},
    "questions": [
        {"key": "why", "label": "What brings you here?", "kind": "long_text", "required": True},
        {"key": "before", "label": "Have you been here before?", "kind": "choice", "options": ["No", "Yes"]},
    ],
    "guests_max": 2,
    "price": {"amount_minor": 6000, "currency": "EUR"},
    "payment_account": "pac_sandbox",
}
"""The event type of the sample booking page; its hosts are the demo's."""


def where_to_try(server_url: str, keys: dict[str, str], page: str, site: str) -> str:
    """The demo's last words, while it stays up."""
    return f"""
The server stays up at {server_url}
  secret key       {keys["secret"]}
  publishable key  {keys["publishable"]}

A booking page, to be paid at the sandbox (with HOLDFIRST_DEMO_STRIPE_KEY=sk_test_… at Stripe's test system):
  {server_url}/b/{page}
The same in somebody else's web site, in every way:
  {site}

Stop it with Ctrl-C; its database goes with it."""


@contextmanager
def embedding_site(server_url: str, page: str) -> Iterator[str]:
    """Answers its address; `page` is the path behind `/b/`."""
    template = (resources.files("holdfirst.web") / "templates" / "embeds.html").read_text()
    body = template.replace("HOLDFIRST_URL", server_url).replace("HOLDFIRST_PAGE", page).encode()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: the terminal is for the stories."""

    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        # Another name than the server's 127.0.0.1, so that a browser sees another site.
        yield f"http://localhost:{site.server_address[1]}/"
    finally:
        site.shutdown()
        site.server_close()
