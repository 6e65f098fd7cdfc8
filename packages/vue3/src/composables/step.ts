// SPDX-License-Identifier: Apache-2.0
import type { HoldState } from "./hold"

export type Step = "choose" | "details" | "payment" | "done"

/** Where on the way a customer is: a function of what the server said last. */
export function stepOf(hold: HoldState, { flow, sent }: { flow: "full" | "pick"; sent: boolean }): Step {
  const status = hold.status.value
  if (status === "none") return "choose"
  if (status === "held") {
    if (flow === "pick") return "choose"
    const tried = hold.reservation.value === null || hold.reservation.value.payment !== null
    return tried || sent || hold.settling.value ? "payment" : "details"
  }
  if (status === "processing") return "payment"
  return "done"
}
