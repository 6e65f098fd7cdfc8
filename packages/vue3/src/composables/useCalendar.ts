// SPDX-License-Identifier: Apache-2.0
import { computed } from "vue"
import type { BookingOptions } from "./booking"
import { provideBooking, useBooking } from "./context"

export type UseCalendarOptions = Partial<BookingOptions>
export type UseCalendarReturn = ReturnType<typeof useCalendar>

/**
 * What is free. With an `eventType` it makes a calendar of its own, for this component and those inside it;
 * without, it is the `<HoldfirstCalendar>` around or below (the one called `calendarId`, or the only one).
 */
export function useCalendar(options: UseCalendarOptions = {}) {
  const own = options.eventType === undefined ? null : provideBooking({ ...options, eventType: options.eventType })
  const { found, needed } =
    own === null ? useBooking(options.calendarId) : { found: computed(() => own), needed: () => own }
  const slots = computed(() => found.value?.slots ?? null)
  return {
    /** The event type, once it is known. */
    eventType: computed(() => slots.value?.offer.value ?? null),
    /** `2026-12`. */
    month: computed(() => slots.value?.month.value ?? ""),
    /** Free slots of the month by local date; a date without one is not in it. */
    days: computed(() => slots.value?.days.value ?? {}),
    selectedDay: computed(() => slots.value?.day.value ?? null),
    timeZone: computed(() => slots.value?.timeZone.value ?? "UTC"),
    seats: computed(() => slots.value?.seats.value ?? 1),
    /** `idle` until mounted, then `loading`, then `ready`. */
    status: computed(() => slots.value?.status.value ?? "idle"),
    /** Why the last question was not answered; it is asked again by itself. */
    error: computed(() => slots.value?.failure.value ?? null),
    next: () => needed().slots.nextMonth(),
    previous: () => needed().slots.previousMonth(),
    nextFree: () => needed().slots.showNextFree(),
    showMonth: (month: string) => needed().slots.showMonth(month),
    selectDay: (date: string | null) => needed().slots.selectDay(date),
    setTimeZone: (zone: string) => needed().slots.setTimeZone(zone),
    setSeats: (seats: number) => needed().slots.setSeats(seats),
    refresh: () => needed().slots.refresh(),
  }
}
