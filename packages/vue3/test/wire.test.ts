// SPDX-License-Identifier: Apache-2.0
// @vitest-environment node
import { readFile } from "node:fs/promises"
import { expect, it } from "vitest"
import * as surface from "../src/index"
import * as core from "../src/core/index"
// @ts-expect-error a script without types
import { generate, GENERATED } from "../types.mjs"

it("has the shapes of docs/openapi.json: after a change there, npm run types", async () => {
  expect(await readFile(GENERATED as URL, "utf8")).toBe(await generate())
})

it("offers what it promises, and a change of that is meant", () => {
  expect(Object.keys(surface).sort()).toEqual([
    "HoldfirstCalendar", "HoldfirstCountdown", "HoldfirstForm", "HoldfirstMonth", "HoldfirstOffer", "HoldfirstPayment",
    "HoldfirstRoot", "HoldfirstSeats", "HoldfirstSummary", "HoldfirstTimes", "HoldfirstTrouble", "HoldfirstZone",
    "Refused", "Unreachable", "confirm", "createHoldfirst", "reserve", "useCalendar", "useHoldfirst", "useReservation",
    "useSelectedTimeSlot",
  ])
  expect(Object.keys(core).sort()).toEqual([
    "LANGUAGES", "Refused", "ServerClock", "Unreachable", "calendarEntry", "calendarFile", "countdown", "createClient",
    "createFormats", "createWords", "english", "forgetHold", "formatMoney", "googleLink", "isRightToLeft", "isZone",
    "keepHold", "keptHold", "languageOf", "loadMessages", "outlookLink", "visitorZone", "watchSlots",
  ])
})
