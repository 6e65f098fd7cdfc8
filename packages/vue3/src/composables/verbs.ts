// SPDX-License-Identifier: Apache-2.0
// reserve() and confirm() from anywhere in a page that has one calendar.

import type { Details, Reservation } from "../core/wire"
import { mountedCalendar } from "./holdfirst"

export interface WhichCalendar {
  /** Needed where several calendars are mounted. */
  calendarId?: string
}

/** Hold the selected slot of the only mounted calendar (or of `calendarId`): atomically gone for everybody else. */
export async function reserve({ calendarId, ...details }: WhichCalendar & Details = {}): Promise<Reservation> {
  return mountedCalendar(calendarId).hold.reserve(details)
}

/** Ask the server to make it firm. It asks the payment provider; what this browser believes counts for nothing. */
export async function confirm({ calendarId }: WhichCalendar = {}): Promise<Reservation> {
  return mountedCalendar(calendarId).hold.confirm()
}
