// SPDX-License-Identifier: Apache-2.0
import { beforeEach, describe, expect, it, vi } from "vitest"
import { createClient, Refused, Unreachable } from "../src/core/client"
import { FakeServer, problem } from "./fake_server"

let server: FakeServer
const open = () =>
  createClient({ baseUrl: "https://book.example/", publishableKey: "hf_pk_test_1", fetch: server.fetch, timeoutMs: 50 })
const SLOTS = { start: "2026-12-01T00:00:00Z", end: "2027-01-01T00:00:00Z", timeZone: "Europe/Prague" }

beforeEach(() => {
  server = new FakeServer()
})

describe("keys", () => {
  it("puts a publishable key into the query of a GET, so that a browser asks no leave first", async () => {
    await open().slots("intro", SLOTS)
    const [asked] = server.asked
    expect(asked?.query.get("key")).toBe("hf_pk_test_1")
    expect([...(asked?.headers.keys() ?? [])]).toEqual([])
  })

  it("puts a client secret into a header and never into an address", async () => {
    const client = open()
    await client.reserve({ event_type: "intro", start: server.slots[0]!.start }, "k")
    await client.reservation("res_1", "hf_cs_1.x")
    for (const asked of server.asked) expect(asked.query.toString() + asked.path).not.toContain("hf_cs_")
    expect(server.asked[1]?.headers.get("authorization")).toBe("Bearer hf_cs_1.x")
  })
})

describe("trouble", () => {
  it("asks again where the network failed, and reserves under the same key", async () => {
    server.failures = [new TypeError("network"), problem(503, "busy", {}, { "retry-after": "0.01" })]
    await open().reserve({ event_type: "intro", start: server.slots[0]!.start }, "the-key")
    expect(server.asked.map((one) => one.headers.get("idempotency-key"))).toEqual(["the-key", "the-key", "the-key"])
    expect(server.made).toBe(1)
  })

  it("does not repeat a verb that has no key by itself", async () => {
    server.failures = [new TypeError("network")]
    await expect(open().release("res_1", "hf_cs_1.x")).rejects.toBeInstanceOf(Unreachable)
    expect(server.asked).toHaveLength(1)
  })

  it("says why not, field by field", async () => {
    server.failures = [problem(422, "details_missing", { missing: ["customer.email"] })]
    const failure = await open().checkout("res_1", "s", "https://a.example/").catch((told: unknown) => told)
    expect(failure).toBeInstanceOf(Refused)
    expect((failure as Refused).code).toBe("details_missing")
    expect((failure as Refused).fields).toEqual(["customer.email"])
  })

  it("waits no longer than it said", async () => {
    const silent = vi.fn((_: unknown, init?: RequestInit) =>
      new Promise<Response>((_resolve, reject) => init?.signal?.addEventListener("abort", () => reject(new Error("aborted")))))
    const client = createClient({ baseUrl: "https://b.example", publishableKey: "k", fetch: silent as never, timeoutMs: 20 })
    await expect(client.eventType("intro")).rejects.toMatchObject({ name: "Unreachable", why: "timeout" })
    expect(silent).toHaveBeenCalledTimes(1)
  })

  it("survives an answer that is no JSON", async () => {
    server.failures = [new Response("<html>a proxy", { status: 502 })]
    await expect(open().eventType("intro")).rejects.toMatchObject({ code: "unreadable", status: 502 })
  })
})

it("knows the server's time where the device's is a day wrong", async () => {
  server.now = Date.now() - 86_400_000
  const client = open()
  await client.eventType("intro")
  expect(Math.abs(client.now() - server.now)).toBeLessThan(1500)
  await client.reserve({ event_type: "intro", start: server.slots[0]!.start }, "k")
  expect(Math.abs(client.now() - server.now)).toBeLessThan(100)
})
