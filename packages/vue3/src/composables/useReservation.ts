// SPDX-License-Identifier: Apache-2.0
import { computed } from "vue"
import type { Details, Reservation, Status } from "../core/wire"
import { useBooking } from "./context"
import type { PayOptions, Verb } from "./hold"

export type UseReservationReturn = ReturnType<typeof useReservation>

/**
 * The hold, and what becomes of it. Its client secret stays in this tab's session storage, so that `resume()` finds
 * the hold after a reload or after the payment page.
 */
export function useReservation({ calendarId }: { calendarId?: string } = {}) {
  const { found, needed } = useBooking(calendarId)
  const hold = computed(() => found.value?.hold ?? null)
  return {
    reservation: computed<Reservation | null>(() => hold.value?.reservation.value ?? null),
    /** `none`, or what the server last said. */
    status: computed<Status | "none">(() => hold.value?.status.value ?? "none"),
    /** Until the hold is over, by the server's clock; 0 where nothing is held. */
    secondsLeft: computed(() => hold.value?.secondsLeft.value ?? 0),
    /** The verb that runs now. */
    working: computed<Verb | null>(() => hold.value?.working.value ?? null),
    /** Why the last verb failed: `Refused` with a code, or `Unreachable`. */
    error: computed<unknown>(() => hold.value?.failure.value ?? null),
    reserve: (details?: Details) => needed().hold.reserve(details),
    setDetails: (details: Details) => needed().hold.setDetails(details),
    pay: (options?: PayOptions) => needed().hold.pay(options),
    extend: () => needed().hold.extend(),
    release: () => needed().hold.release(),
    confirm: () => needed().hold.confirm(),
    resume: (given?: { id: string; secret: string }) => needed().hold.resume(given),
    reschedule: (start: string) => needed().hold.reschedule(start),
    cancel: () => needed().hold.cancel(),
  }
}
