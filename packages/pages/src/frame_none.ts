// SPDX-License-Identifier: Apache-2.0
// This page by itself: what a frame would have to do is nobody's work.

import type { Booking, Holdfirst } from "@holdfirst/vue3"
import { computed, shallowRef, type ComputedRef, type ShallowRef } from "vue"

export interface Frame {
  framed: boolean
  /** Where whoever holds the frame wants the customer back. */
  returnUrl: ShallowRef<string | null>
  words: ComputedRef<Holdfirst["words"]["value"]>
  /** False: nobody holds the frame who could go there. */
  navigate(url: string): boolean
  follow(booking: Booking): void
}

export function alone(holdfirst: Holdfirst): Frame {
  return {
    framed: false,
    returnUrl: shallowRef(null),
    words: computed(() => holdfirst.words.value),
    navigate: () => false,
    follow: () => undefined,
  }
}
