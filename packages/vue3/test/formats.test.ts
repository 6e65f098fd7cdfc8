// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest"
import { calendarFile, googleLink } from "../src/core/calendar_links"
import { countdown, createFormats, formatMoney } from "../src/core/formats"

const plain = (text: string) => text.replaceAll(/[\u00a0\u202f\u2009]/g, " ")

it("tells a time in its zone, and the zone by name", () => {
  const formats = createFormats({ locale: "en-GB", timeZone: "America/New_York" })
  expect(formats.time("2026-12-07T14:00:00Z")).toBe("09:00")
  expect(formats.zoneName("2026-12-07T14:00:00Z")).toBe("New York (Eastern Standard Time)")
  expect(formats.zoneName("2026-07-07T14:00:00Z")).toContain("Daylight")
})

it("does as the locale does, unless told otherwise", () => {
  const at = "2026-12-07T14:00:00Z"
  expect(plain(createFormats({ locale: "en-US", timeZone: "UTC" }).time(at))).toBe("2:00 PM")
  expect(createFormats({ locale: "en-US", timeZone: "UTC", hourCycle: "h23" }).time(at)).toBe("14:00")
  expect(createFormats({ locale: "de", timeZone: "UTC" }).dayLong("2026-12-07")).toBe("Montag, 7. Dezember")
})

it("goes on in UTC where the browser does not know the zone", () => {
  expect(createFormats({ locale: "en-GB", timeZone: "Mars/Olympus" }).time("2026-12-07T14:00:00Z")).toBe("14:00")
})

it.each([
  [{ amount_minor: 6000, currency: "EUR" }, "€60.00"],
  [{ amount_minor: 6000, currency: "JPY" }, "¥6,000"],
  [{ amount_minor: 6000, currency: "KWD" }, "KWD 6.000"],
  [{ amount_minor: 6000, currency: "HUF" }, "HUF 60.00"],
])("counts minor units as ISO 4217 does: %o", (money, said) => {
  expect(plain(formatMoney("en", money))).toBe(said)
})

it("counts down to nought and no further", () => {
  expect([899.2, 60, 59.4, 0, -5].map(countdown)).toEqual(["15:00", "1:00", "1:00", "0:00", "0:00"])
})

const entry = {
  id: "res_1", title: "Talk; \"plans\", and\nmore", start: "2026-12-07T08:00:00.000Z", end: "2026-12-07T09:00:00.000Z",
  sequence: 2, description: "žluťoučký ".repeat(20), location: "",
}

it("writes a calendar file that keeps to RFC 5545", () => {
  const file = calendarFile(entry, new Date("2026-12-01T00:00:00Z"))
  for (const line of file.split("\r\n")) expect(new TextEncoder().encode(line).length).toBeLessThanOrEqual(75)
  expect(file).toContain("SUMMARY:Talk\\; \"plans\"\\, and\\nmore\r\n")
  expect(file).toContain("DTSTART:20261207T080000Z\r\n")
  expect(file).toContain("SEQUENCE:2\r\n")
  expect(file.replaceAll("\r\n ", "")).toContain(entry.description)
  expect(file.replaceAll("\r\n", "")).not.toContain("\n")
})

it("leads to Google with the same instants", () => {
  expect(new URL(googleLink(entry)).searchParams.get("dates")).toBe("20261207T080000Z/20261207T090000Z")
})
