// SPDX-License-Identifier: Apache-2.0
// One calendar's whole state: what is free, what is selected, what is held.

import { computed, type ComputedRef } from "vue"
import { createFormats, type Formats } from "../core/formats"
import { createHold, type HoldState } from "./hold"
import { calendarIn, type Holdfirst } from "./holdfirst"
import { createSlots, type SlotsOptions, type SlotsState } from "./slots"

/** What happened, with ids and times only: never anything personal. */
export type BookingEvent =
  | { type: "ready"; event_type: string }
  | { type: "slot"; start: string; end: string; time_zone: string }
  | { type: "submitting" }
  | { type: "reserved"; reservation: string; start: string; end: string; held_until: string }
  | { type: "hold_expired" | "released" | "confirmed"; reservation: string; start: string; end: string }
  | { type: "payment_started"; reservation: string }

export interface BookingOptions extends SlotsOptions {
  /** What `reserve({ calendarId })` names. @default the event type, with the host */
  calendarId?: string | undefined
}

export interface Booking {
  readonly id: string
  readonly holdfirst: Holdfirst
  readonly slots: SlotsState
  readonly hold: HoldState
  readonly formats: ComputedRef<Formats>
  on(listener: (event: BookingEvent) => void): () => void
  tell(event: BookingEvent): void
  stop(): void
}

export function createBooking(holdfirst: Holdfirst, options: BookingOptions): Booking {
  const listeners = new Set<(event: BookingEvent) => void>()
  const tell = (event: BookingEvent) => listeners.forEach((listener) => listener(event))
  const slots = createSlots(holdfirst, options)
  const hold = createHold(holdfirst, options, slots, tell)
  return {
    id: options.calendarId ?? [options.eventType, options.host].filter(Boolean).join(" "),
    holdfirst,
    slots,
    hold,
    formats: computed(() =>
      createFormats({
        locale: holdfirst.locale.value,
        timeZone: slots.timeZone.value,
        hourCycle: holdfirst.options.hourCycle,
      }),
    ),
    on(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    tell,
    stop() {
      slots.stop()
      hold.stop()
      listeners.clear()
    },
  }
}

export { calendarIn }
