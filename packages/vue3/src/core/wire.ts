// SPDX-License-Identifier: Apache-2.0
// The shapes on the wire, by the names we use. Generated from docs/openapi.json; nothing is described twice.

import type { components } from "./api.gen"

type Schemas = components["schemas"]

export type Instant = string
export type Money = Schemas["Money"]
export type Question = Schemas["Question"]
export type Slot = Schemas["SlotTold"]
export type SlotList = Schemas["SlotsAnswer"]
export type Reservation = Schemas["ReservationAnswer"]
export type Payment = Schemas["PaymentAnswer"]
export type Standing = Schemas["Standing"]
export type Status = Schemas["Status"]
export type Problem = Schemas["Problem"]
export type RefusalCode = Problem["code"]

/** An event type as a publishable key is told it. */
export type EventType = Omit<Schemas["EventTypeAnswer"], "metadata" | "payment_account">

/** Details that can follow while a slot is held; null takes a member away. */
export interface Details {
  customer?: {
    name?: string | null
    email?: string | null
    phone?: string | null
    time_zone?: string | null
    locale?: string | null
  }
  guests?: string[]
  answers?: Record<string, unknown>
  metadata?: Record<string, unknown>
}

export interface ReserveRequest extends Details {
  event_type: string
  start: Instant
  seats?: number
  host?: string
  hold_seconds?: number
}
