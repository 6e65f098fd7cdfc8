// SPDX-License-Identifier: Apache-2.0
// Failures in words: which sentence, and whether trying again can help.

import { Refused, Unreachable } from "../core/client"

type Sentence =
  | "offline" | "unreachable" | "too_many" | "not_offered" | "too_late_to_pay" | "too_late_to_change"
  | "payment_refused" | "inactive" | "failed"

export interface Trouble {
  key: Sentence
  code: string
  again: boolean
}

const SENTENCES: Partial<Record<string, Sentence>> = {
  too_many_holds: "too_many",
  slot_not_offered: "not_offered",
  too_late_to_pay: "too_late_to_pay",
  too_late_to_cancel: "too_late_to_change",
  too_late_to_reschedule: "too_late_to_change",
  extension_refused: "too_late_to_change",
  checkout_refused: "payment_refused",
  provider_unavailable: "payment_refused",
  no_payment_account: "payment_refused",
  event_type_inactive: "inactive",
  event_type_not_found: "inactive",
  busy: "unreachable",
  database_unavailable: "unreachable",
}

// The state that the server told along with these says it all.
const SAID_ELSEWHERE = new Set([
  "slot_taken", "hold_expired", "already_released", "already_confirmed", "already_cancelled", "payment_in_progress",
  "already_paid", "payment_required",
])

/** null: there is nothing to say here. */
export function troubleOf(failure: unknown): Trouble | null {
  if (failure === null || failure === undefined) return null
  if (failure instanceof Unreachable) {
    const offline = typeof navigator !== "undefined" && navigator.onLine === false
    return { key: offline ? "offline" : "unreachable", code: failure.why, again: true }
  }
  if (failure instanceof Refused) {
    if (SAID_ELSEWHERE.has(failure.code)) return null
    const again = failure.status >= 500 || failure.status === 429
    // Without a code of ours it is of somebody in between: a proxy whose server is away, or who is asked too much.
    const key = again && failure.code === "unreadable" ? "unreachable" : (SENTENCES[failure.code] ?? "failed")
    return { key, code: failure.code, again }
  }
  return { key: "failed", code: failure instanceof Error ? failure.name : "unknown", again: true }
}
