// SPDX-License-Identifier: Apache-2.0
// What is free: the month that is looked at, its days and times, and what is selected of them.

import { CalendarDate } from "@internationalized/date"
import { computed, ref, shallowRef, type Ref } from "vue"
import { Refused } from "../core/client"
import { isZone, visitorZone } from "../core/formats"
import { watchSlots, type SlotWatch } from "../core/slot_watch"
import type { EventType, Slot, SlotList } from "../core/wire"
import type { Holdfirst } from "./holdfirst"

export interface SlotsOptions {
  eventType: string
  host?: string | undefined
  timeZone?: string | undefined
  month?: string | undefined
  seats?: number | undefined
  /** Told by whoever knows it already; asked for otherwise. */
  offer?: EventType | undefined
}

export type SlotsState = ReturnType<typeof createSlots>

const DAY_MS = 86_400_000
const LOOK_AHEAD_DAYS = 100
/** With less than this left of a month, the first question is about the next one too. */
const FIRST_LOOK_DAYS = 7
const RETRY_MS = [2_000, 4_000, 8_000, 16_000, 30_000]

export function createSlots(holdfirst: Holdfirst, options: SlotsOptions) {
  const client = holdfirst.client
  const offer = shallowRef<EventType | null>(options.offer ?? null)
  const timeZone = ref(firstZone(options, holdfirst))
  const month = ref(options.month ?? "")
  const seats = ref(options.seats ?? 1)
  const days = shallowRef<Record<string, Slot[]>>({})
  const day = ref<string | null>(null)
  const slot = shallowRef<Slot | null>(null)
  const taken = shallowRef<Slot | null>(null)
  const status = ref<"idle" | "loading" | "ready">("idle")
  const failure = shallowRef<unknown>(null)
  const nothingAhead = ref(false)
  let looked = false
  let zoneRefused = false
  let asking: AbortController | null = null
  let watching: SlotWatch | null = null
  let retry: ReturnType<typeof setTimeout> | undefined
  let failures = 0

  const today = computed(() => localDate(client.now(), timeZone.value))
  const lastMonth = computed(() => {
    const horizon = (offer.value?.horizon_days ?? 60) * DAY_MS
    const last = (offer.value?.starts ?? []).map((start) => Date.parse(start)).sort((a, b) => a - b).at(-1)
    return localDate(last ?? client.now() + horizon, timeZone.value).slice(0, 7)
  })

  /** Begin to look, in a browser; on a server there is no visitor and nothing to show yet. */
  async function start(): Promise<void> {
    status.value = "loading"
    if (!options.timeZone && !holdfirst.options.timeZone) timeZone.value = visitorZone() ?? timeZone.value
    try {
      offer.value ??= await client.eventType(options.eventType)
    } catch (told) {
      return failed(told, start)
    }
    if (!month.value) month.value = today.value.slice(0, 7)
    await refresh()
    watch()
  }

  function watch(): void {
    watching?.stop()
    watching = watchSlots(client.streamUrl(options.eventType, zoneRefused ? undefined : timeZone.value), (hinted) => {
      if (hinted === null || hinted.some((one) => one.startsWith(month.value))) void refresh()
    })
  }

  function stop(): void {
    watching?.stop()
    watching = null
    asking?.abort()
    clearTimeout(retry)
  }

  /** Ask for this month again. What is selected and gone is said so. */
  async function refresh(): Promise<void> {
    asking?.abort()
    const mine = (asking = new AbortController())
    const first = !looked && !options.month
    const [from] = monthBounds(month.value, timeZone.value)
    const [, to] = monthBounds(first ? monthOfFirstLook() : month.value, timeZone.value)
    try {
      const list = await ask(from, to, mine.signal)
      if (mine.signal.aborted) return
      looked = true
      take(list)
      // The first look of all goes to where something is free.
      if (first && Object.keys(days.value).length === 0 && !showFirstOf(list)) await showNextFree()
    } catch (told) {
      if (!mine.signal.aborted) failed(told, refresh)
    }
  }

  async function ask(from: Date, to: Date, signal?: AbortSignal): Promise<SlotList> {
    const query = {
      start: from.toISOString(),
      end: to.toISOString(),
      ...(zoneRefused ? {} : { timeZone: timeZone.value }),
      seats: seats.value,
      ...(options.host ? { host: options.host } : {}),
    }
    try {
      return await client.slots(options.eventType, query, undefined, signal)
    } catch (told) {
      // A browser may know a zone that the server does not: then days are counted in the host's.
      if (zoneRefused || !(told instanceof Refused) || !told.fields.includes("time_zone")) throw told
      zoneRefused = true
      return ask(from, to, signal)
    }
  }

  function take(list: SlotList): void {
    if (zoneRefused) timeZone.value = list.time_zone
    const found: Record<string, Slot[]> = {}
    for (const [date, indexes] of Object.entries(list.days)) {
      if (date.startsWith(month.value)) found[date] = indexes.map((index) => list.slots[index]).filter((one) => !!one)
    }
    days.value = found
    status.value = "ready"
    failure.value = null
    failures = 0
    day.value ??= firstFree()
    if (slot.value !== null && !isOffered(slot.value.start) && !kept) markTaken(slot.value)
    watching?.nextChange(list.next_change_at, client.now())
  }

  const monthOfFirstLook = () => localDate(client.now() + FIRST_LOOK_DAYS * DAY_MS, timeZone.value).slice(0, 7)

  /** Go to the first day of an answer that has something; false where none has. */
  function showFirstOf(list: SlotList): boolean {
    const found = Object.keys(list.days).sort()[0]
    if (found === undefined) return false
    month.value = found.slice(0, 7)
    selectDay(found)
    take(list)
    return true
  }

  function failed(told: unknown, again: () => Promise<void>): void {
    failure.value = told
    const forGood = told instanceof Refused && told.status < 500 && told.status !== 429
    clearTimeout(retry)
    if (!forGood) retry = setTimeout(() => void again(), RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)])
  }

  const isOffered = (start: string) => Object.values(days.value).some((list) => list.some((one) => one.start === start))
  const firstFree = () => Object.keys(days.value).sort()[0] ?? null

  // While somebody's own hold keeps the selected time, its not being offered is no news.
  let kept = false
  function keepSelected(held: boolean): void {
    kept = held
  }

  /** Somebody else was faster: it is deselected and said. */
  function markTaken(gone: Slot): void {
    taken.value = gone
    slot.value = null
    days.value = Object.fromEntries(
      Object.entries(days.value)
        .map(([date, list]) => [date, list.filter((one) => one.start !== gone.start)] as const)
        .filter(([, list]) => list.length > 0),
    )
  }

  function select(chosen: Slot | null): void {
    slot.value = chosen
    taken.value = null
  }

  function selectDay(date: string | null): void {
    day.value = date
    slot.value = null
    taken.value = null
  }

  async function showMonth(wanted: string): Promise<void> {
    if (wanted === month.value) return
    month.value = wanted
    days.value = {}
    status.value = "loading"
    selectDay(null)
    await refresh()
  }

  /** The first month ahead that has something, as far as one question sees: its answer is what is shown. */
  async function showNextFree(): Promise<void> {
    const [, from] = monthBounds(month.value, timeZone.value)
    const to = new Date(from.getTime() + LOOK_AHEAD_DAYS * DAY_MS)
    try {
      nothingAhead.value = !showFirstOf(await ask(from, to))
      if (nothingAhead.value) return
      // A month that is longer than the question was asked for itself.
      if (monthBounds(month.value, timeZone.value)[1] > to) await refresh()
    } catch (told) {
      failed(told, refresh)
    }
  }

  async function setTimeZone(zone: string): Promise<void> {
    if (!isZone(zone)) return
    zoneRefused = false
    timeZone.value = zone
    // Days are counted anew, so what was chosen of them is not what it was called.
    const chosen = slot.value
    await refresh()
    day.value = chosen ? localDate(Date.parse(chosen.start), timeZone.value) : firstFree()
    if (watching) watch()
  }

  async function setSeats(wanted: number): Promise<void> {
    seats.value = wanted
    slot.value = null
    await refresh()
  }

  return {
    offer, timeZone, month, seats, days, day, slot, taken, status, failure, nothingAhead, today, lastMonth,
    start, stop, refresh, select, selectDay, markTaken, keepSelected, showMonth, showNextFree, setTimeZone, setSeats,
    isLastMonth: computed(() => month.value >= lastMonth.value),
    isFirstMonth: computed(() => month.value <= today.value.slice(0, 7)),
    nextMonth: () => showMonth(addMonths(month.value, 1)),
    previousMonth: () => showMonth(addMonths(month.value, -1)),
  }
}

function firstZone(options: SlotsOptions, holdfirst: Holdfirst): string {
  const asked = [options.timeZone, holdfirst.options.timeZone].find((zone) => zone && isZone(zone))
  return asked ?? "UTC"
}

export function localDate(instant: number, zone: string): string {
  const parts = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit",
  }).formatToParts(new Date(instant))
  const part = (type: string) => parts.find((one) => one.type === type)?.value ?? ""
  return `${part("year")}-${part("month")}-${part("day")}`
}

export function addMonths(month: string, count: number): string {
  const [year = 0, number = 1] = month.split("-").map(Number)
  const moved = new Date(Date.UTC(year, number - 1 + count, 1))
  return moved.toISOString().slice(0, 7)
}

/** Its first instant and its last, where that month is local. */
function monthBounds(month: string, zone: string): [Date, Date] {
  const [year = 1970, number = 1] = month.split("-").map(Number)
  const first = new CalendarDate(year, number, 1)
  return [first.toDate(zone), first.add({ months: 1 }).toDate(zone)]
}

export type Selected = Ref<Slot | null>
