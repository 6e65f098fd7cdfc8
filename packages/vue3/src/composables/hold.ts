// SPDX-License-Identifier: Apache-2.0
// A hold and what becomes of it: every verb asks the server, and what the server answered is the state.

import { computed, ref, shallowRef } from "vue"
import { Refused, Unreachable } from "../core/client"
import { forgetHold, keepHold, keptHold } from "../core/kept_hold"
import type { Details, Reservation, Slot, Standing, Status } from "../core/wire"
import type { BookingEvent } from "./booking"
import type { Holdfirst } from "./holdfirst"
import type { SlotsState } from "./slots"

export type HoldState = ReturnType<typeof createHold>
export type Verb =
  | "reserve" | "details" | "pay" | "extend" | "release" | "confirm" | "cancel" | "reschedule" | "resume"

export interface PayOptions {
  /** Where the customer comes back to. @default this page */
  returnUrl?: string
  /** How to get to the payment page. @default this page goes there */
  navigate?: (url: string) => void
}

interface HoldOptions {
  eventType: string
  host?: string | undefined
}

const SETTLE_MS = 1_200
const TICK_MS = 500
const WATCH_MS = 3_000

export function createHold(
  holdfirst: Holdfirst, options: HoldOptions, slots: SlotsState, tell: (event: BookingEvent) => void,
) {
  const client = holdfirst.client
  const name = [client.root, options.eventType, options.host ?? ""].join(" ")
  const reservation = shallowRef<Reservation | null>(null)
  const standing = shallowRef<Standing | null>(null)
  const secret = ref<string | null>(null)
  const working = ref<Verb | null>(null)
  const failure = shallowRef<unknown>(null)
  const now = ref(0)
  /** The customer came back from a payment page, or went to one: how it stands is being asked. */
  const settling = ref(false)
  let ticking: ReturnType<typeof setInterval> | undefined
  let polling: ReturnType<typeof setTimeout> | undefined
  let running: { verb: Verb; done: Promise<Reservation> } | null = null

  const status = computed<Status | "none">(() => standing.value?.status ?? reservation.value?.status ?? "none")
  const secondsLeft = computed(() => {
    const held = reservation.value
    return held?.status === "held" ? Math.max(0, (Date.parse(held.held_until) - now.value) / 1000) : 0
  })

  function take(told: Reservation): Reservation {
    const before = reservation.value
    reservation.value = told
    if (standing.value !== null && standing.value.status !== told.status) standing.value = null
    if (told.client_secret) secret.value = told.client_secret
    if (secret.value) keepHold(name, { id: told.id, secret: secret.value })
    slots.keepSelected(told.status === "held" || told.status === "processing")
    announce(before, told)
    tick(told.status === "held")
    return told
  }

  function announce(before: Reservation | null, told: Reservation): void {
    if (before?.id === told.id && before.status === told.status) return
    const about = { reservation: told.id, start: told.start, end: told.end }
    if (told.status === "held" && before?.status !== "held") {
      tell({ type: "reserved", ...about, held_until: told.held_until })
    }
    if (told.status === "confirmed") tell({ type: "confirmed", ...about })
    if (told.status === "expired" && before) tell({ type: "hold_expired", ...about })
  }

  /** Count down while held; at nought ask what the server says, for its clock decides. */
  function tick(held: boolean): void {
    clearInterval(ticking)
    now.value = client.now()
    if (!held) return
    ticking = setInterval(() => {
      now.value = client.now()
      if (secondsLeft.value > 0) return
      clearInterval(ticking)
      polling = setTimeout(() => void refresh().catch(() => tick(true)), 150)
    }, TICK_MS)
  }

  /** One verb at a time: the same one again while it runs is the same one (a double click). */
  function run(verb: Verb, work: () => Promise<Reservation>): Promise<Reservation> {
    if (running?.verb === verb) return running.done
    const previous = running?.done.catch(() => undefined) ?? Promise.resolve()
    const done = previous.then(async () => {
      working.value = verb
      failure.value = null
      try {
        return take(await work())
      } catch (told) {
        failure.value = told
        if (told instanceof Refused && told.status === 409) await refresh().catch(() => undefined)
        throw told
      } finally {
        working.value = null
        running = null
      }
    })
    running = { verb, done }
    return done
  }

  function mine(): { id: string; secret: string } {
    if (reservation.value === null || secret.value === null) throw new Error("Nothing is reserved yet.")
    return { id: reservation.value.id, secret: secret.value }
  }

  /** Hold the selected slot: atomically gone for everybody else. Again, while it is held: the same hold. */
  function reserve(details: Details = {}): Promise<Reservation> {
    const chosen = slots.slot.value
    const held = reservation.value
    if (held?.status === "held" && (chosen === null || chosen.start === held.start)) return Promise.resolve(held)
    if (chosen === null) return Promise.reject(new Error("No time is selected."))
    return run("reserve", async () => {
      tell({ type: "submitting" })
      const key = crypto.randomUUID()
      try {
        return await client.reserve({ event_type: options.eventType, ...wish(chosen), ...details }, key)
      } catch (told) {
        if (told instanceof Refused && ["slot_taken", "slot_not_offered"].includes(told.code)) {
          slots.markTaken(chosen)
          void slots.refresh()
        }
        throw told
      }
    })
  }

  function wish(chosen: Slot) {
    return {
      start: chosen.start,
      seats: slots.seats.value,
      customer: { time_zone: slots.timeZone.value, locale: holdfirst.locale.value },
      ...(options.host ? { host: options.host } : {}),
    }
  }

  const setDetails = (details: Details) =>
    run("details", () => client.setDetails(mine().id, mine().secret, details))

  /** Open the checkout and go there. Twice is once: the server answers the one that is open. */
  function pay({ returnUrl, navigate }: PayOptions = {}): Promise<Reservation> {
    return run("pay", async () => {
      const back = returnUrl ?? location.href.split("#")[0] ?? location.href
      const told = await client.checkout(mine().id, mine().secret, back)
      const url = told.payment?.checkout_url
      if (url) {
        tell({ type: "payment_started", reservation: told.id })
        const go = navigate ?? ((address: string) => location.assign(address))
        go(url)
      }
      return told
    })
  }

  const extend = () => run("extend", () => client.extend(mine().id, mine().secret))
  const cancel = () => run("cancel", () => client.cancel(mine().id, mine().secret))
  const reschedule = (start: string) => run("reschedule", () => client.reschedule(mine().id, mine().secret, start))

  /** Asks the server, which asks the provider; asserts nothing by itself. */
  const confirm = () => run("confirm", () => client.confirm(mine().id, mine().secret))

  /** Give the hold up; the time is free again at once. */
  async function release(): Promise<Reservation> {
    const told = await run("release", () => client.release(mine().id, mine().secret))
    if (told.status === "released") {
      tell({ type: "released", reservation: told.id, start: told.start, end: told.end })
      forget()
    }
    return told
  }

  async function refresh(): Promise<Reservation> {
    return take(await client.reservation(mine().id, mine().secret))
  }

  /** Take up what this tab held before a reload, or `given` (a link's id and secret); null: there is nothing. */
  async function resume(given?: { id: string; secret: string }): Promise<Reservation | null> {
    const kept = given ?? keptHold(name)
    if (kept === null) return null
    secret.value = kept.secret
    working.value = "resume"
    try {
      return take(await client.reservation(kept.id, kept.secret))
    } catch (told) {
      if (told instanceof Unreachable) throw told
      if (!given) forget()
      if (given) throw told
      return null
    } finally {
      working.value = null
    }
  }

  /**
   * Ask until it is settled. `back`: the customer comes from a payment page and waits; otherwise it is asked in the
   * background, for it may be paid in another tab. Without the secret (another browser) only how it stands is known.
   */
  async function settle(id: string, back = true): Promise<void> {
    settling.value = back
    clearTimeout(polling)
    try {
      const told = await client.standing(id)
      standing.value = told
      if (secret.value && reservation.value?.id === id && reservation.value.status !== told.status) await refresh()
      standing.value = told
      if (told.waiting || told.outcome === "confirming") {
        polling = setTimeout(() => void settle(id, back), SETTLE_MS)
        return
      }
      settling.value = false
      failure.value = null
      // Where nothing could be kept (a frame without storage), this is how it is known at all.
      if (reservation.value === null && told.status === "confirmed") {
        tell({ type: "confirmed", reservation: told.reservation, start: told.start, end: told.end })
      }
    } catch (trouble) {
      failure.value = trouble
      const again = trouble instanceof Unreachable || (trouble instanceof Refused && trouble.status >= 429)
      if (again) polling = setTimeout(() => void settle(id, back), 3 * SETTLE_MS)
      else settling.value = false
    }
  }

  /** Look every few seconds whether somebody else's word has changed it. */
  async function watch(): Promise<void> {
    clearTimeout(polling)
    await refresh().catch(() => undefined)
    if (reservation.value?.status === "held") polling = setTimeout(() => void watch(), WATCH_MS)
  }

  /** Start over: this page no longer knows the reservation; the server does. */
  function forget(): void {
    forgetHold(name)
    stop()
    reservation.value = null
    standing.value = null
    secret.value = null
    failure.value = null
    settling.value = false
    slots.keepSelected(false)
  }

  function stop(): void {
    clearInterval(ticking)
    clearTimeout(polling)
  }

  return {
    reservation, standing, secret, status, secondsLeft, working, failure, settling,
    reserve, setDetails, pay, extend, release, confirm, cancel, reschedule, resume, refresh, settle, watch, forget, stop,
  }
}
