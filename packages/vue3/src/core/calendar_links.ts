// SPDX-License-Identifier: Apache-2.0
// A booking for the customer's own calendar: a file (RFC 5545), or a link that opens theirs.

import type { Reservation } from "./wire"

export interface CalendarEntry {
  id: string
  title: string
  start: string
  end: string
  sequence: number
  description: string
  location: string
}

export function calendarEntry(reservation: Reservation, title: string, description: string): CalendarEntry {
  return {
    id: reservation.id,
    title,
    start: reservation.start,
    end: reservation.end,
    sequence: reservation.sequence,
    description,
    location: reservation.location?.value ?? "",
  }
}

/** The text of an `.ics` file. `stamp`: when it was made. */
export function calendarFile(entry: CalendarEntry, stamp: Date): string {
  const lines = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//holdfirst//booking page//EN",
    "METHOD:PUBLISH",
    "BEGIN:VEVENT",
    `UID:${entry.id}@holdfirst`,
    `DTSTAMP:${compact(stamp.toISOString())}`,
    `DTSTART:${compact(entry.start)}`,
    `DTEND:${compact(entry.end)}`,
    `SEQUENCE:${entry.sequence}`,
    `SUMMARY:${escaped(entry.title)}`,
    ...(entry.description ? [`DESCRIPTION:${escaped(entry.description)}`] : []),
    ...(entry.location ? [`LOCATION:${escaped(entry.location)}`] : []),
    "STATUS:CONFIRMED",
    "END:VEVENT",
    "END:VCALENDAR",
  ]
  return lines.map(folded).join("\r\n") + "\r\n"
}

export function googleLink(entry: CalendarEntry): string {
  return link("https://calendar.google.com/calendar/render", {
    action: "TEMPLATE",
    text: entry.title,
    dates: `${compact(entry.start)}/${compact(entry.end)}`,
    details: entry.description,
    location: entry.location,
  })
}

export function outlookLink(entry: CalendarEntry): string {
  return link("https://outlook.live.com/calendar/0/action/compose", {
    rru: "addevent",
    subject: entry.title,
    startdt: entry.start,
    enddt: entry.end,
    body: entry.description,
    location: entry.location,
  })
}

function link(address: string, query: Record<string, string>): string {
  const url = new URL(address)
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value)
  return url.href
}

function compact(instant: string): string {
  return `${new Date(instant).toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`
}

/** RFC 5545, 3.3.11. */
function escaped(text: string): string {
  return text.replace(/\\/g, "\\\\").replace(/;/g, "\\;").replace(/,/g, "\\,").replace(/\r?\n|\r/g, "\\n")
}

/** RFC 5545, 3.1: no line over 75 bytes, and no character cut in two. */
function folded(line: string): string {
  const encoder = new TextEncoder()
  const lines: string[] = []
  let current = ""
  for (const character of line) {
    if (encoder.encode(current + character).length > 75) {
      lines.push(current)
      current = " "
    }
    current += character
  }
  return [...lines, current].join("\r\n")
}
