// SPDX-License-Identifier: Apache-2.0
// A hold and what becomes of it: every verb asks the server, and what the server answered is the state.

import { computed, ref, shallowRef } from "vue"
import { Refused, Unreachable } from "../core/client"
import { forgetDraft, forgetHold, keepDraft, keepHold, keptDraft, keptHold } from "../core/kept_hold"
import type { Details, Reservation, Slot, Standing, Status } from "../core/wire"
import type { BookingEvent } from "./booking"
import type { Holdfirst } from "./holdfirst"
import { createPaymentWindow } from "./payment_window"
import type { SlotsState } from "./slots"

export type HoldState = ReturnType<typeof createHold>
export type Verb =
  | "reserve" | "details" | "pay" | "extend" | "release" | "confirm" | "cancel" | "reschedule" | "resume"

/** `popup`: in a window of its own; `external`: you take the money your own way, and your back end confirms. */
export type PaymentWay = "checkout" | "popup" | "external"

export interface PayOptions {
  /** Where the customer comes back to. @default this page */
  returnUrl?: string
  /** How to get to the payment page. @default this page goes there */
  navigate?: (url: string) => void
  /** In a window of its own, and this page stays; to be called in a click. */
  popup?: boolean
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
  const paymentWindow = createPaymentWindow()
  let ticking: ReturnType<typeof setInterval> | undefined
  let polling: ReturnType<typeof setTimeout> | undefined
  // The draft of the hold before this one, in this page alone: whoever takes another time need not type it all again.
  let typed: unknown = null
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
    if (told.status !== "held") forgetDraft(told.id)
    tick(told.status === "held")
    return told
  }

  /** What is typed for this hold and not sent yet. */
  function keepTyped(draft: unknown): void {
    typed = draft
    if (reservation.value?.status === "held") keepDraft(reservation.value.id, draft)
  }

  const keptTyped = () => (reservation.value && keptDraft(reservation.value.id)) ?? typed

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
    run("details", async () => {
      const told = await client.setDetails(mine().id, mine().secret, details)
      forgetDraft(told.id)
      return told
    })

  /** For a payment in a window of its own: in the click, so before the first thing that is waited for. */
  const openPaymentWindow = () => paymentWindow.open(holdfirst.words.value.say("opening_payment"))

  /** Open the checkout and go there. Twice is once: the server answers the one that is open. */
  async function pay({ returnUrl, navigate, popup = false }: PayOptions = {}): Promise<Reservation> {
    if (popup) openPaymentWindow()
    else paymentWindow.close()
    const back = new URL(returnUrl ?? location.href)
    back.hash = returnUrl ? back.hash : ""
    // The page that the window comes back to then says that it can be closed, and waits there.
    if (popup) back.searchParams.set("holdfirst", "popup")
    try {
      const told = await run("pay", async () => {
        const open = await client.checkout(mine().id, mine().secret, back.href)
        const url = open.payment?.checkout_url
        if (!url) return open
        tell({ type: "payment_started", reservation: open.id })
        if (popup) paymentWindow.lead(url)
        else (navigate ?? ((address: string) => location.assign(address)))(url)
        return open
      })
      if (popup) void settle(told.id, false)
      return told
    } catch (refused) {
      paymentWindow.close()
      throw refused
    }
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
      forgetDraft(kept.id)
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
      // A window in which somebody may be paying late is left alone: what becomes of that is told there and here.
      if (told.outcome !== "not_booked") paymentWindow.close()
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
    if (reservation.value) forgetDraft(reservation.value.id)
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
    paymentWindow.close()
  }

  return {
    reservation, standing, secret, status, secondsLeft, working, failure, settling,
    reserve, setDetails, pay, extend, release, confirm, cancel, reschedule, resume, refresh, settle, watch, forget, stop,
    keepTyped, keptTyped, paymentWindow, openPaymentWindow,
  }
}
