// SPDX-License-Identifier: Apache-2.0
// The plugin: one server, one key, one way to speak; and which calendars are mounted.

import { computed, inject, provide, type App, type ComputedRef, type InjectionKey, shallowReactive, shallowRef } from "vue"
import { createClient, type Client } from "../core/client"
import { createWords, english, isRightToLeft, loadMessages, type Messages, type Words } from "../core/languages"
import type { HourCycle } from "../core/formats"
import type { Booking } from "./booking"

export interface HoldfirstOptions {
  /** Where the server is, e.g. `https://book.example.org`. */
  baseUrl: string
  /** `hf_pk_…`, safe in a browser. */
  publishableKey: string
  /** @default the browser's language; `en` on a server */
  locale?: string
  /** @default the visitor's zone */
  timeZone?: string
  /** @default what the locale does */
  hourCycle?: HourCycle
  /** 0 is Sunday. @default what the locale does */
  firstDayOfWeek?: 0 | 1 | 2 | 3 | 4 | 5 | 6
  /** Words of yours over ours, key by key. */
  messages?: Partial<Messages>
  /** @default globalThis.fetch */
  fetch?: typeof globalThis.fetch
}

export interface Holdfirst {
  readonly options: HoldfirstOptions
  readonly client: Client
  readonly locale: ComputedRef<string>
  readonly words: ComputedRef<Words>
  readonly rightToLeft: ComputedRef<boolean>
  /** The mounted calendars of this application, by id. */
  readonly calendars: Map<string, Booking>
  setLocale(locale: string): Promise<void>
  install(app: App): void
}

const KEY: InjectionKey<Holdfirst> = Symbol("holdfirst")

// What the verbs without a component serve: every calendar that is mounted in this browser.
const mounted = shallowReactive(new Map<string, Booking>())

export function createHoldfirst(options: HoldfirstOptions): Holdfirst {
  const locale = shallowRef(options.locale ?? "en")
  const messages = shallowRef<Messages>(english)
  const spoken = computed(() => ({ ...messages.value, ...options.messages }) as Messages)
  const holdfirst: Holdfirst = {
    options,
    client: createClient(options),
    locale: computed(() => locale.value),
    words: computed(() => createWords(spoken.value, locale.value)),
    rightToLeft: computed(() => isRightToLeft(locale.value)),
    calendars: shallowReactive(new Map()),
    async setLocale(wanted) {
      messages.value = await loadMessages(wanted)
      locale.value = wanted
    },
    install(app) {
      app.provide(KEY, holdfirst)
    },
  }
  return holdfirst
}

/** For whoever brings holdfirst to a part of a page without installing it in the whole. */
export function provideHoldfirst(holdfirst: Holdfirst): void {
  provide(KEY, holdfirst)
}

export function useHoldfirst(): Holdfirst {
  const found = inject(KEY, null)
  if (found === null) {
    throw new Error("holdfirst is not installed: app.use(createHoldfirst({ baseUrl, publishableKey })).")
  }
  return found
}

export function registerCalendar(holdfirst: Holdfirst, booking: Booking): () => void {
  if (holdfirst.calendars.has(booking.id)) {
    throw new Error(`Two calendars are called "${booking.id}": give each a calendarId of its own.`)
  }
  holdfirst.calendars.set(booking.id, booking)
  mounted.set(booking.id, booking)
  return () => {
    holdfirst.calendars.delete(booking.id)
    if (mounted.get(booking.id) === booking) mounted.delete(booking.id)
  }
}

/** The calendar called so, or the only one; null where there is none, or no saying which. */
export function calendarIn(calendars: Map<string, Booking>, id?: string): Booking | null {
  if (id !== undefined) return calendars.get(id) ?? null
  return calendars.size === 1 ? ([...calendars.values()][0] ?? null) : null
}

/** The same, where an answer is needed: says what is wrong. */
export function theCalendar(calendars: Map<string, Booking>, id?: string): Booking {
  const found = calendarIn(calendars, id)
  if (found !== null) return found
  const names = [...calendars.keys()].map((name) => `"${name}"`).join(", ")
  if (id !== undefined) throw new Error(`No calendar called "${id}" is mounted${names ? `; there are ${names}` : ""}.`)
  if (calendars.size === 0) throw new Error("No calendar is mounted, so nothing is selected.")
  throw new Error(`${calendars.size} calendars are mounted: say which with { calendarId }, one of ${names}.`)
}

export function mountedCalendar(id?: string): Booking {
  if (typeof window === "undefined") {
    throw new Error("reserve() and confirm() act on the calendar in a browser; there is none on a server.")
  }
  return theCalendar(mounted, id)
}
