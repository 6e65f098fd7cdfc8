// SPDX-License-Identifier: Apache-2.0
// A server for unit tests: it keeps holds as the real one does, and can be told to fail.

import type { EventType, Reservation, Slot } from "../src/core/wire"

export const OFFER = {
  id: "ety_1", livemode: false, slug: "intro", created_at: "2026-11-01T00:00:00.000Z", name: "Intro",
  description: null, hosts: ["hst_1"], duration_minutes: 60, seats: 1, guests_max: 1, horizon_days: 60,
  price: { amount_minor: 6000, currency: "EUR" }, hold_seconds: 600, extensions_max: 1, questions: [],
  allowed_origins: [], location: null, cancellation: null, reschedule: null, starts: null,
} as unknown as EventType

export interface Asked {
  method: string
  path: string
  query: URLSearchParams
  headers: Headers
  body: Record<string, unknown> | null
}

export class FakeServer {
  asked: Asked[] = []
  /** The server's time; the device's may be another. */
  now = Date.parse("2026-12-01T08:00:00.000Z")
  slots: Slot[] = [9, 10, 11].map((hour) => ({
    start: `2026-12-07T${String(hour).padStart(2, "0")}:00:00.000Z`,
    end: `2026-12-07T${String(hour + 1).padStart(2, "0")}:00:00.000Z`,
    seats_left: 1,
  }))
  held: Reservation | null = null
  made = 0
  /** What the next calls are answered instead, first come first served. */
  failures: (Response | Error)[] = []
  /** How it stands after a checkout, one answer a question; the last one stays. */
  standings: Response[] = []

  fetch = async (input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(String(input))
    const asked: Asked = {
      method: init.method ?? "GET",
      path: url.pathname,
      query: url.searchParams,
      headers: new Headers(init.headers),
      body: init.body ? (JSON.parse(String(init.body)) as Record<string, unknown>) : null,
    }
    this.asked.push(asked)
    await Promise.resolve()
    const failure = this.failures.shift()
    if (failure instanceof Error) throw failure
    return failure ?? this.answer(asked)
  }

  private answer({ method, path, query, body }: Asked): Response {
    if (path === "/v1/event-types/intro" || path === "/v1/event-types/other") return this.json(OFFER)
    if (path.endsWith("/slots")) return this.slotList(query)
    if (method === "POST" && path === "/v1/reservations") return this.reserve(String(body?.["start"]))
    if (path.startsWith("/r/")) {
      const told = this.standings.length > 1 ? this.standings.shift() : this.standings[0]
      return told?.clone() ?? problem(404, "reservation_not_found")
    }
    const verb = path.split("/")[4]
    if (!this.held || path.split("/")[3] !== this.held.id) return problem(404, "reservation_not_found")
    if (verb === "release") this.held = { ...this.held, status: "released" }
    if (verb === "cancel") {
      const payment = this.held.payment && { ...this.held.payment, refund_due: { amount_minor: 3000, currency: "EUR" } }
      this.held = { ...this.held, status: "cancelled", payment }
    }
    if (verb === "reschedule") this.held = { ...this.held, start: String(body?.["start"]), sequence: this.held.sequence + 1 }
    if (verb === "extend") {
      const until = new Date(Date.parse(this.held.held_until) + 600_000).toISOString()
      this.held = { ...this.held, held_until: until, extensions_left: 0 }
    }
    if (verb === "confirm") {
      if (!this.held.payment) return problem(402, "payment_required")
      this.held = { ...this.held, status: "confirmed" }
    }
    if (verb === "checkout") {
      const [amount, none] = [6000, 0].map((amount_minor) => ({ amount_minor, currency: "EUR" }))
      const payment = {
        id: "pay_1", status: "open", checkout_url: "https://pay.example/1", amount, refund_due: none, refunded: none,
      }
      this.held = { ...this.held, payment } as unknown as Reservation
    }
    return this.json(this.seen())
  }

  private slotList(query: URLSearchParams): Response {
    const [from, to] = [query.get("start") ?? "", query.get("end") ?? ""]
    const slots = this.slots.filter((slot) => slot.start >= from && slot.start < to)
    const days: Record<string, number[]> = {}
    slots.forEach((slot, index) => (days[slot.start.slice(0, 10)] ??= []).push(index))
    return this.json({ event_type: OFFER.id, time_zone: "UTC", slots, days, next_change_at: null })
  }

  private reserve(start: string): Response {
    if (!this.slots.some((slot) => slot.start === start)) return problem(409, "slot_taken")
    this.made++
    this.slots = this.slots.filter((slot) => slot.start !== start)
    this.held = {
      id: `res_${this.made}`, livemode: false, status: "held", event_type: OFFER.id, hosts: ["hst_1"], start,
      end: new Date(Date.parse(start) + 3_600_000).toISOString(), seats: 1, hold_seconds: 600, extensions_left: 1,
      held_until: new Date(this.now + 600_000).toISOString(), price: OFFER.price, payment: null, payment_open: false,
      customer: {}, guests: [], answers: {}, metadata: {}, sequence: 0, links: { page: "", manage: "" },
      client_secret: `hf_cs_${this.made}.x`,
    } as unknown as Reservation
    return this.json(this.seen(), 201)
  }

  private seen() {
    const held = this.held
    const over = held?.status === "held" && Date.parse(held.held_until) <= this.now
    return { ...held, status: over ? "expired" : held?.status, server_time: new Date(this.now).toISOString() }
  }

  private json(told: unknown, status = 200): Response {
    return new Response(JSON.stringify(told), { status, headers: { date: new Date(this.now).toUTCString() } })
  }

  count(method: string, path: string): number {
    return this.asked.filter((one) => one.method === method && one.path === path).length
  }
}

export function problem(status: number, code: string, more: object = {}, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ code, status, title: code, detail: code, ...more }), { status, headers })
}
