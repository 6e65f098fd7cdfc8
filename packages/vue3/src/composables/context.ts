// SPDX-License-Identifier: Apache-2.0
// Which calendar a component or a composable is about: its Root's, the one it names, or the only one there is.

import { computed, inject, onMounted, onScopeDispose, provide, type ComputedRef, type InjectionKey } from "vue"
import { createBooking, type Booking, type BookingOptions } from "./booking"
import { calendarIn, registerCalendar, theCalendar, useHoldfirst } from "./holdfirst"

const KEY: InjectionKey<Booking> = Symbol("holdfirst calendar")

/** Make a calendar, for this component and what is inside it; it begins to look when mounted. */
export function provideBooking(options: BookingOptions): Booking {
  const holdfirst = useHoldfirst()
  const booking = createBooking(holdfirst, options)
  provide(KEY, booking)
  // Not on a server: there is one of it for many visitors.
  onMounted(() => {
    unregister = registerCalendar(holdfirst, booking)
    void booking.slots.start().then(() => booking.tell({ type: "ready", event_type: options.eventType }))
  })
  let unregister: (() => void) | undefined
  onScopeDispose(() => {
    unregister?.()
    booking.stop()
  })
  return booking
}

/** For parts: the Root they are in. */
export function injectBooking(part: string): Booking {
  const found = inject(KEY, null)
  if (found === null) throw new Error(`<${part}> must be inside a <HoldfirstRoot> or a <HoldfirstCalendar>.`)
  return found
}

/** For composables: the calendar around, else the one called so, else the only one; null until it is mounted. */
export function useBooking(calendarId?: string): { found: ComputedRef<Booking | null>; needed: () => Booking } {
  const around = calendarId === undefined ? inject(KEY, null) : null
  if (around !== null) return { found: computed(() => around), needed: () => around }
  const { calendars } = useHoldfirst()
  return {
    found: computed(() => calendarIn(calendars, calendarId)),
    needed: () => theCalendar(calendars, calendarId),
  }
}
