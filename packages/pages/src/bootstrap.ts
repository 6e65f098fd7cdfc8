// SPDX-License-Identifier: Apache-2.0
// What the server wrote into the page, and what the address asks for; nothing of either is believed without a look.

import { isZone, type EventType } from "@holdfirst/vue3/core"
import type { PaymentWay, Prefill } from "@holdfirst/vue3"

export interface Bootstrap {
  page: "book" | "manage"
  key: string
  event_type: EventType
  hosts: { id: string; name: string }[]
  host?: string
  time_zone: string
  language: string
  server_time: string
  reservation?: string
}

export interface Wishes {
  embed: "inline" | "popup" | null
  theme: "light" | "dark" | null
  timeZone: string | null
  month: string | null
  seats: number | null
  payment: PaymentWay
  prefill: Prefill
}

const TEXT_MAX = 300

export function readBootstrap(): Bootstrap {
  const told = document.getElementById("holdfirst")?.textContent
  return JSON.parse(told ?? "{}") as Bootstrap
}

/** `https://book.example.org/prefix`, from where this page lies. */
export function serverRoot(page: Bootstrap["page"]): string {
  const parts = location.pathname.split("/")
  return location.origin + parts.slice(0, page === "book" ? -3 : -2).join("/")
}

export function readWishes(search: string): Wishes {
  const query = new URLSearchParams(search)
  const one = (name: string, pattern: RegExp) => {
    const value = query.get(name) ?? ""
    return pattern.test(value) ? value : null
  }
  const text = (name: string) => query.get(name)?.slice(0, TEXT_MAX)
  const zone = query.get("time_zone") ?? ""
  const answers = [...query].filter(([name]) => name.startsWith("answers."))
  const prefill: Prefill = {
    answers: Object.fromEntries(answers.map(([name, value]) => [name.slice("answers.".length), value.slice(0, TEXT_MAX)])),
  }
  for (const name of ["name", "email", "phone"] as const) {
    const value = text(name)
    if (value) prefill[name] = value
  }
  return {
    embed: one("embed", /^(inline|popup)$/) as Wishes["embed"],
    theme: one("theme", /^(light|dark)$/) as Wishes["theme"],
    timeZone: zone && isZone(zone) ? zone : null,
    month: one("month", /^20\d\d-(0[1-9]|1[0-2])$/),
    seats: Number(one("seats", /^[1-9]\d?$/)) || null,
    payment: (one("payment", /^(popup|external)$/) ?? "checkout") as PaymentWay,
    prefill,
  }
}
