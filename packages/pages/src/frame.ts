// SPDX-License-Identifier: Apache-2.0
// This page inside somebody else's: one handshake, then one private port. The other side is judged by its origin.

import type { Booking, BookingEvent, Holdfirst } from "@holdfirst/vue3"
import { shallowRef, type ShallowRef } from "vue"

const PROTOCOL = 1
/** Variables that a host page may set; their values are judged by the browser. */
const VARIABLES: Record<string, string> = {
  "--hf-accent": "color",
  "--hf-on-accent": "color",
  "--hf-ground": "background-color",
  "--hf-tint": "background-color",
  "--hf-ink": "color",
  "--hf-quiet": "color",
  "--hf-line": "border-color",
  "--hf-radius": "border-radius",
  "--hf-font": "font-family",
}

export interface Frame {
  framed: boolean
  /** Where whoever holds the frame wants the customer back. */
  returnUrl: ShallowRef<string | null>
  /** False: nobody holds the frame who could go there. */
  navigate(url: string): boolean
  follow(booking: Booking): void
}

/** This page by itself: what a frame would have to do is nobody's work. */
export const alone: Frame = { framed: false, returnUrl: shallowRef(null), navigate: () => false, follow: () => undefined }

export function joinFrame(allowedOrigins: readonly string[], holdfirst: Holdfirst): Frame {
  const returnUrl = shallowRef<string | null>(null)
  let port: MessagePort | null = null
  const waiting: unknown[] = []

  function send(message: Record<string, unknown>): void {
    if (port) port.postMessage(message)
    else if (waiting.length < 50) waiting.push(message)
  }

  function welcome(event: MessageEvent): void {
    const told = event.data as { holdfirst?: unknown; type?: unknown; href?: unknown } | null
    const offered = event.ports[0]
    // The first port is the only one: a second is somebody else's, or the same one played again.
    if (port !== null || event.source !== window.parent || told?.holdfirst !== PROTOCOL || told.type !== "init") return
    if (offered === undefined || !isAllowed(event.origin, allowedOrigins)) return
    port = offered
    if (typeof told.href === "string" && originOf(told.href) === event.origin) returnUrl.value = told.href
    port.onmessage = (message) => obey(message.data, holdfirst)
    for (const message of waiting.splice(0)) port.postMessage(message)
    report()
  }

  function report(): void {
    const page = document.querySelector("main") ?? document.body
    let last = 0
    const measure = () => {
      const height = Math.ceil(page.getBoundingClientRect().height)
      if (height !== last) send({ type: "resize", height: (last = height) })
    }
    new ResizeObserver(() => requestAnimationFrame(measure)).observe(page)
    measure()
  }

  addEventListener("message", welcome)
  window.parent.postMessage({ holdfirst: PROTOCOL, type: "hello" }, "*")
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") send({ type: "close", reason: "escape" })
  })

  return {
    framed: true,
    returnUrl,
    navigate(url) {
      if (port === null) return false
      send({ type: "navigate", url })
      return true
    },
    follow(booking) {
      booking.on((event: BookingEvent) => send({ ...event }))
    },
  }
}

/** An empty list allows every page, as `frame-ancestors` does then. */
function isAllowed(origin: string, allowed: readonly string[]): boolean {
  return allowed.length === 0 || origin === location.origin || allowed.includes(origin)
}

function originOf(url: string): string | null {
  try {
    return new URL(url).origin
  } catch {
    return null
  }
}

function obey(told: unknown, holdfirst: Holdfirst): void {
  const message = told as { type?: unknown; theme?: unknown; lang?: unknown; vars?: unknown } | null
  if (message?.type !== "set") return
  const root = document.documentElement
  if (message.theme === "light" || message.theme === "dark") root.dataset["theme"] = message.theme
  else if (message.theme === "auto") delete root.dataset["theme"]
  if (typeof message.lang === "string" && /^[a-z]{2}(-[a-z0-9]+)*$/i.test(message.lang)) {
    void holdfirst.setLocale(message.lang).catch(() => undefined)
  }
  const variables = Object.entries((message.vars ?? {}) as Record<string, unknown>)
  for (const [name, value] of variables) {
    const property = VARIABLES[name]
    if (property && typeof value === "string" && CSS.supports(property, value)) {
      document.querySelectorAll<HTMLElement>(".hf").forEach((element) => element.style.setProperty(name, value))
    }
  }
}
