// SPDX-License-Identifier: Apache-2.0
// Speaks to the server: one function a call, errors in two kinds, repeats only where a repeat is the same request.

import { ServerClock } from "./server_clock"
import type {
  Details, EventType, Problem, RefusalCode, Reservation, ReserveRequest, SlotList, Standing,
} from "./wire"

export interface ClientOptions {
  /** Where the server is, e.g. `https://book.example.org`. */
  baseUrl: string
  /** `hf_pk_…`: safe in a browser. */
  publishableKey: string
  /** @default globalThis.fetch */
  fetch?: typeof globalThis.fetch
  /** How long an answer is waited for. @default 20000 */
  timeoutMs?: number
}

/** The server said no, and why: `code` is one of a closed list (docs/refusals.md). */
export class Refused extends Error {
  override name = "Refused"
  constructor(
    readonly code: RefusalCode | "unreadable",
    readonly status: number,
    readonly problem: Partial<Problem> & Record<string, unknown> = {},
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(`${code}: ${problem.detail ?? problem.title ?? status}`)
  }

  /** The fields that a 422 names, e.g. `customer.email`. */
  get fields(): string[] {
    const missing = this.problem["missing"]
    return [
      ...(this.problem.errors ?? []).map((fault) => fault.field),
      ...(Array.isArray(missing) ? missing.map(String) : []),
    ]
  }
}

/** No answer came: no network, no server, or not in time. What was asked may have happened all the same. */
export class Unreachable extends Error {
  override name = "Unreachable"
  constructor(readonly why: "network" | "timeout") {
    super(why === "timeout" ? "The server did not answer in time." : "The server could not be reached.")
  }
}

interface Call {
  method?: string
  query?: Record<string, string | number | undefined>
  body?: unknown
  secret?: string
  /** Under this key the same request twice is one request. */
  idempotencyKey?: string
  hold?: string
  signal?: AbortSignal
}

const ATTEMPTS = 3
const PAUSE_MS_MAX = 5000

export type Client = ReturnType<typeof createClient>

export function createClient(options: ClientOptions) {
  const root = options.baseUrl.replace(/\/+$/, "")
  const clock = new ServerClock()

  async function ask<T>(path: string, call: Call = {}): Promise<T> {
    // A GET, and a POST with a key, may be sent again: it is the same request. Others are left to whoever asked.
    const repeatable = (call.method ?? "GET") === "GET" || call.idempotencyKey !== undefined
    for (let attempt = 1; ; attempt++) {
      try {
        return await once<T>(path, call)
      } catch (failure) {
        const pause = pauseBefore(failure, attempt)
        if (!repeatable || pause === null || attempt >= ATTEMPTS || call.signal?.aborted) throw failure
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
  }

  async function once<T>(path: string, call: Call): Promise<T> {
    const url = new URL(root + path)
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value))
    }
    const headers: Record<string, string> = {}
    const method = call.method ?? "GET"
    if (call.secret !== undefined) headers["authorization"] = `Bearer ${call.secret}`
    else if (method === "GET") url.searchParams.set("key", options.publishableKey)
    else headers["authorization"] = `Bearer ${options.publishableKey}`
    if (call.idempotencyKey) headers["idempotency-key"] = call.idempotencyKey
    if (call.hold) headers["x-holdfirst-hold"] = call.hold
    const init: RequestInit = { method, headers, credentials: "omit" }
    if (call.body !== undefined) {
      headers["content-type"] = "application/json"
      init.body = JSON.stringify(call.body)
    }
    return read<T>(await send(url, init, call.signal))
  }

  async function send(url: URL, init: RequestInit, outer?: AbortSignal): Promise<Response> {
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(), options.timeoutMs ?? 20_000)
    const stop = () => limit.abort()
    outer?.addEventListener("abort", stop)
    const asked = clock.mark()
    try {
      const answer = await (options.fetch ?? globalThis.fetch)(url.href, { ...init, signal: limit.signal })
      clock.observe(answer.headers.get("date"), asked, 1000)
      return answer
    } catch {
      throw new Unreachable(limit.signal.aborted && !outer?.aborted ? "timeout" : "network")
    } finally {
      clearTimeout(timer)
      outer?.removeEventListener("abort", stop)
    }
  }

  async function read<T>(answer: Response): Promise<T> {
    const asked = clock.mark()
    let told: unknown
    try {
      told = await answer.json()
    } catch {
      throw new Refused("unreadable", answer.status)
    }
    if (answer.ok) {
      if (isRecord(told) && typeof told["server_time"] === "string") clock.observe(told["server_time"], asked, 0)
      return told as T
    }
    const problem = isRecord(told) ? told : {}
    const wait = Number(answer.headers.get("retry-after"))
    throw new Refused(
      (typeof problem["code"] === "string" ? problem["code"] : "unreadable") as RefusalCode,
      answer.status,
      problem,
      Number.isFinite(wait) && wait > 0 ? wait : null,
    )
  }

  const verb = (id: string, name: string, secret: string, body: unknown = {}) =>
    ask<Reservation>(`/v1/reservations/${encodeURIComponent(id)}/${name}`, { method: "POST", secret, body })

  return {
    root,
    /** The server's time, as far as answers have told it. */
    now: () => clock.now(),
    /** A page that the server has just made says when. */
    learnTime: (told: string) => clock.observe(told, clock.mark(), 1000),
    eventType: (name: string) => ask<EventType>(`/v1/event-types/${encodeURIComponent(name)}`),
    slots: (name: string, query: SlotQuery, hold?: string, signal?: AbortSignal) =>
      ask<SlotList>(`/v1/event-types/${encodeURIComponent(name)}/slots`, {
        query: {
          start: query.start, end: query.end, time_zone: query.timeZone, seats: query.seats, host: query.host,
        },
        ...(hold ? { hold } : {}),
        ...(signal ? { signal } : {}),
      }),
    streamUrl: (name: string, timeZone?: string) => {
      const url = new URL(`${root}/v1/event-types/${encodeURIComponent(name)}/slots/stream`)
      url.searchParams.set("key", options.publishableKey)
      if (timeZone) url.searchParams.set("time_zone", timeZone)
      return url.href
    },
    reserve: (body: ReserveRequest, idempotencyKey: string) =>
      ask<Reservation>("/v1/reservations", { method: "POST", body, idempotencyKey }),
    reservation: (id: string, secret: string) =>
      ask<Reservation>(`/v1/reservations/${encodeURIComponent(id)}`, { secret }),
    setDetails: (id: string, secret: string, details: Details) =>
      ask<Reservation>(`/v1/reservations/${encodeURIComponent(id)}`, { method: "PATCH", secret, body: details }),
    checkout: (id: string, secret: string, returnUrl: string, cancelUrl?: string) =>
      verb(id, "checkout", secret, { return_url: returnUrl, ...(cancelUrl ? { cancel_url: cancelUrl } : {}) }),
    extend: (id: string, secret: string) => verb(id, "extend", secret),
    release: (id: string, secret: string) => verb(id, "release", secret),
    confirm: (id: string, secret: string) => verb(id, "confirm", secret),
    cancel: (id: string, secret: string) => verb(id, "cancel", secret),
    reschedule: (id: string, secret: string, start: string) => verb(id, "reschedule", secret, { start }),
    /** How it stands after a checkout: for whoever knows the id, and nothing personal in it. */
    standing: (id: string) => ask<Standing>(`/r/${encodeURIComponent(id)}/state`),
  }
}

export interface SlotQuery {
  start: string
  end: string
  timeZone?: string
  seats?: number
  host?: string
}

/** How long to wait before the same request again; null: it would say the same. */
function pauseBefore(failure: unknown, attempt: number): number | null {
  if (failure instanceof Unreachable) return failure.why === "network" ? 400 * attempt : null
  if (!(failure instanceof Refused)) return null
  const again = failure.status === 503 || failure.code === "idempotency_in_progress"
  return again ? Math.min((failure.retryAfterSeconds ?? 1) * 1000, PAUSE_MS_MAX) : null
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
