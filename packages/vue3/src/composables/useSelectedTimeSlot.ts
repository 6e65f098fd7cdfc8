// SPDX-License-Identifier: Apache-2.0
import { computed } from "vue"
import type { Slot } from "../core/wire"
import { useBooking } from "./context"

export type UseSelectedTimeSlotReturn = ReturnType<typeof useSelectedTimeSlot>

/** The slot that is selected, and the one that somebody else has just taken. */
export function useSelectedTimeSlot({ calendarId }: { calendarId?: string } = {}) {
  const { found, needed } = useBooking(calendarId)
  return {
    slot: computed<Slot | null>(() => found.value?.slots.slot.value ?? null),
    justTaken: computed<Slot | null>(() => found.value?.slots.taken.value ?? null),
    select: (slot: Slot) => needed().slots.select(slot),
    clear: () => needed().slots.select(null),
  }
}
