// SPDX-License-Identifier: Apache-2.0
// Dates, times, money and lengths as people read them; all of it by Intl.

import type { Money } from "./wire"

export type HourCycle = "h11" | "h12" | "h23" | "h24"

export interface FormatOptions {
  locale: string
  timeZone: string
  /** @default what the locale does */
  hourCycle?: HourCycle | undefined
}

export type Formats = ReturnType<typeof createFormats>

export function createFormats({ locale, timeZone, hourCycle }: FormatOptions) {
  const zone = isZone(timeZone) ? timeZone : "UTC"
  const clock: Intl.DateTimeFormatOptions = { timeStyle: "short", ...(hourCycle ? { hourCycle } : {}) }
  const made = new Map<string, Intl.DateTimeFormat>()

  function format(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
    const name = JSON.stringify(options)
    const found = made.get(name) ?? new Intl.DateTimeFormat(locale, options)
    made.set(name, found)
    return found
  }

  // A local date has no zone: it is written as UTC and read as UTC.
  const onDate = (date: string, options: Intl.DateTimeFormatOptions) =>
    format({ ...options, timeZone: "UTC" }).format(new Date(`${date}T00:00:00Z`))
  const at = (instant: string | number, options: Intl.DateTimeFormatOptions) =>
    format({ ...options, timeZone: zone }).format(new Date(instant))

  return {
    locale,
    timeZone: zone,
    dayNumber: (date: string) => onDate(date, { day: "numeric" }),
    weekday: (date: string) => onDate(date, { weekday: "long" }),
    dayAndMonth: (date: string) => onDate(date, { day: "numeric", month: "long" }),
    dayLong: (date: string) => onDate(date, { weekday: "long", day: "numeric", month: "long" }),
    month: (month: string) => onDate(`${month}-01`, { month: "long", year: "numeric" }),
    time: (instant: string) => at(instant, clock),
    dateLong: (instant: string) => at(instant, { weekday: "long", day: "numeric", month: "long", year: "numeric" }),
    dateAndTime: (instant: string) => at(instant, { dateStyle: "full", ...clock }),
    timeRange: (start: string, end: string) =>
      format({ ...clock, timeZone: zone }).formatRange(new Date(start), new Date(end)),
    zoneName: (instant: string | number) => zoneName(locale, zone, instant),
    money: (money: Money) => formatMoney(locale, money),
    minutes: (minutes: number) => formatMinutes(locale, minutes),
    number: (value: number) => new Intl.NumberFormat(locale).format(value),
    list: (items: string[]) => new Intl.ListFormat(locale).format(items),
  }
}

export function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name })
    return true
  } catch {
    return false
  }
}

/** The visitor's own zone, where the browser tells one that it knows. */
export function visitorZone(): string | null {
  const told = new Intl.DateTimeFormat().resolvedOptions().timeZone
  return told && isZone(told) ? told : null
}

/** `Europe/Prague` → `Prague (Central European Standard Time)`, or the offset where a locale has no name. */
function zoneName(locale: string, zone: string, instant: string | number): string {
  const parts = new Intl.DateTimeFormat(locale, { timeZone: zone, timeZoneName: "long" }).formatToParts(new Date(instant))
  const name = parts.find((part) => part.type === "timeZoneName")?.value
  const city = zone.split("/").at(-1)?.replaceAll("_", " ") ?? zone
  return name && name !== zone && zone.includes("/") ? `${city} (${name})` : zone
}

// ISO 4217. Browsers know other numbers for some currencies: how cash is rounded, not what a minor unit is.
const NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
const THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"

export function formatMoney(locale: string, money: Money): string {
  const decimals = NO_DECIMALS.includes(money.currency) ? 0 : THREE_DECIMALS.includes(money.currency) ? 3 : 2
  const format = new Intl.NumberFormat(locale, {
    style: "currency",
    currency: money.currency,
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  })
  return format.format(money.amount_minor / 10 ** decimals)
}

function formatMinutes(locale: string, minutes: number): string {
  const days = Math.floor(minutes / 1440)
  const hours = Math.floor((minutes % 1440) / 60)
  const parts: [number, string][] = [[days, "day"], [hours, "hour"], [minutes % 60, "minute"]]
  const said = parts.filter(([count]) => count > 0)
  const shown = said.length > 0 ? said : [[0, "minute"] as [number, string]]
  const unit = (count: number, name: string) =>
    new Intl.NumberFormat(locale, { style: "unit", unit: name, unitDisplay: "long" }).format(count)
  return new Intl.ListFormat(locale, { type: "unit" }).format(shown.map(([count, name]) => unit(count, name)))
}

/** `m:ss`, as a clock that counts down. */
export function countdown(seconds: number): string {
  const left = Math.max(0, Math.ceil(seconds))
  return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`
}
