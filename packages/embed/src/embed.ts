// SPDX-License-Identifier: Apache-2.0
// One script for any page: a booking page in a frame, in a dialog, or behind a floating button.
//
// The frame is the server's own page. One handshake, checked by origin on both sides, then one private port. Styles go
// through the object model only, so that a strict policy of the host page stands; what needs no script is a real link.

interface Options {
  event: string
  theme?: string | undefined
  lang?: string | undefined
  timeZone?: string | undefined
  month?: string | undefined
  seats?: string | undefined
  payment?: string | undefined
  prefill?: Record<string, string> | undefined
  vars?: Record<string, string> | undefined
  title?: string | undefined
}
type Told = Record<string, unknown> & { type: string }
type Listener = (event: Told) => void

interface Handle {
  element: HTMLElement
  close(): void
  set(wishes: Record<string, unknown>): void
  on(type: string, listener: Listener): Handle
}

const script = document.currentScript as HTMLScriptElement
// `/embed.js`, or `/embed/1.2.3.js` where a page pins it.
const SERVER = new URL(script.src.replace(/embed(\/[^/]*)?\.js.*$/, ""))
const PROTOCOL = 1
const TYPES =
  "ready resize slot submitting reserved hold_expired released payment_started confirmed navigate close".split(" ")

// What a screen reader says of the frame and of the button that closes the dialog; the rest is said inside.
const WORDS = (
  "en Booking Close de Buchung Schließen cs Rezervace Zavřít sk Rezervácia Zavrieť pl Rezerwacja Zamknij fr Réservation Fermer " +
  "es Reserva Cerrar it Prenotazione Chiudi pt Reserva Fechar ja 予約 閉じる ar حجز إغلاق"
).split(" ")

/** As the frame speaks: what the page asks for, else the browser's language. */
function words(options: Options): [string, string] {
  const at = Math.max(0, WORDS.indexOf((options.lang ?? navigator.language).slice(0, 2)))
  return [options.title ?? WORDS[at + 1] ?? "", WORDS[at + 2] ?? ""]
}

const make = <Tag extends keyof HTMLElementTagNameMap>(tag: Tag, style: Partial<CSSStyleDeclaration>) => {
  const element = document.createElement(tag)
  Object.assign(element.style, style)
  return element
}

function address(options: Options, embed: string): URL {
  const url = new URL(`b/${options.event}`, SERVER)
  const query: Record<string, string | null | undefined> = {
    embed,
    theme: options.theme,
    lang: options.lang,
    time_zone: options.timeZone,
    month: options.month,
    seats: options.seats,
    payment: options.payment,
    reservation: left() === options.event ? new URLSearchParams(location.search).get("reservation") : null,
    ...options.prefill,
  }
  for (const name in query) if (query[name]) url.searchParams.set(name, query[name])
  return url
}

const LEFT = "holdfirst left"

/** Which event type the customer left this page for, to pay; null where nobody did, or storage is shut. */
function left(): string | null {
  try {
    return sessionStorage.getItem(LEFT)
  } catch {
    return null
  }
}

/** A frame that talks: events reach `tell` and, as `holdfirst:<type>`, whoever listens on the element. */
function frame(options: Options, embed: string, element: HTMLElement): Handle {
  const inside = make("iframe", { border: "0", width: "100%", height: "640px", display: "block", colorScheme: "normal" })
  inside.allow = "payment *; clipboard-write"
  inside.title = words(options)[0]
  inside.referrerPolicy = "strict-origin-when-cross-origin"
  const listeners: [string, Listener][] = []
  let port: MessagePort | undefined

  const handle: Handle = {
    element,
    close() {
      removeEventListener("message", meet)
      port?.close()
      inside.remove()
    },
    set: (wishes) => port?.postMessage({ ...wishes, type: "set" }),
    on(type, listener) {
      listeners.push([type, listener])
      return handle
    },
  }

  function hear(told: Told): void {
    if (!told || !TYPES.includes(told.type)) return
    listeners.forEach(([type, listener]) => type === told.type && listener(told))
    const event = new CustomEvent(`holdfirst:${told.type}`, { detail: told, bubbles: true, cancelable: true })
    const goOn = element.dispatchEvent(event)
    if (told.type === "resize" && embed === "inline") inside.style.height = `${Number(told["height"]) || 640}px`
    if (told.type === "navigate" && goOn) {
      try {
        sessionStorage.setItem(LEFT, options.event)
      } catch {
        // Then the way back leads to this page, and no further.
      }
      go(String(told["url"]))
    }
  }

  function meet(event: MessageEvent): void {
    if (event.source !== inside.contentWindow || event.origin !== SERVER.origin) return
    if (event.data?.holdfirst !== PROTOCOL || event.data.type !== "hello") return
    port?.close()
    const channel = new MessageChannel()
    port = channel.port1
    port.onmessage = (message) => hear(message.data)
    const back = new URL(location.href)
    back.searchParams.delete("reservation")
    inside.contentWindow?.postMessage({ holdfirst: PROTOCOL, type: "init", href: back.href }, SERVER.origin, [channel.port2])
    if (options.vars) handle.set({ vars: options.vars })
  }

  addEventListener("message", meet)
  inside.src = address(options, embed).href
  element.append(inside)
  return handle
}

/** The whole window goes to the payment page: only over https, save where this page itself is a trial on a loopback. */
function go(url: string): void {
  const to = new URL(url)
  if (to.protocol === "https:" || (to.protocol === "http:" && to.origin === SERVER.origin)) location.assign(to)
}

function inline(element: HTMLElement, options: Options): Handle {
  element.replaceChildren()
  return frame(options, "inline", element)
}

function open(options: Options): Handle {
  const dialog = make("dialog", {
    border: "0", padding: "0", width: "min(64rem, 100vw)", maxWidth: "100vw", height: "min(52rem, 100dvh)", maxHeight: "100dvh",
    borderRadius: "8px", overflow: "hidden",
  })
  const [title, close] = words(options)
  dialog.setAttribute("aria-label", title)
  const shut = make("button", {
    position: "absolute", insetBlockStart: "8px", insetInlineEnd: "8px", width: "40px", height: "40px", border: "0",
    borderRadius: "8px", cursor: "pointer", font: "24px/1 sans-serif",
  })
  shut.textContent = "×"
  shut.setAttribute("aria-label", close)
  document.body.append(dialog)
  const handle = frame(options, "popup", dialog)
  Object.assign((dialog.firstChild as HTMLElement).style, { height: "100%" })
  dialog.append(shut)
  const end = handle.close
  handle.close = () => dialog.close()
  shut.onclick = handle.close
  handle.on("close", handle.close)
  dialog.onclose = () => {
    end()
    dialog.remove()
  }
  dialog.showModal()
  return handle
}

function float(options: Options, text: string): HTMLElement {
  const button = make("button", {
    position: "fixed", insetBlockEnd: "20px", insetInlineEnd: "20px", zIndex: "2147483000", padding: "14px 22px", border: "0",
    borderRadius: "8px", font: "600 16px/1.25 system-ui, sans-serif", color: "#fff", background: "#0b5d4b", cursor: "pointer",
  })
  button.type = "button"
  button.textContent = text
  button.onclick = () => open(options)
  document.body.append(button)
  return button
}

/** `data-event`, `data-theme`, `data-lang` …; `data-prefill-name`, `data-vars--hf-accent`. */
function wishesOf(element: HTMLElement): Options {
  const found = { ...element.dataset } as Record<string, string>
  const prefill: Record<string, string> = {}
  const vars: Record<string, string> = {}
  for (const { name, value } of element.attributes) {
    if (name.startsWith("data-prefill-")) prefill[name.slice(13)] = value
    if (name.startsWith("data-var-")) vars[`--hf-${name.slice(9)}`] = value
  }
  const link = element.getAttribute("href")
  const event = found["event"] ?? (link ? new URL(link, location.href).pathname.split("/b/").pop() : "") ?? ""
  return { ...found, event, prefill, vars }
}

/** Back from the payment page into a dialog: it is opened again, by the element that had opened it. */
function resume(): void {
  const event = left()
  if (!event || !new URLSearchParams(location.search).has("reservation")) return
  const openers = [...document.querySelectorAll<HTMLElement>("[data-holdfirst=popup]")].map(wishesOf)
  if (script.dataset["float"]) openers.push({ ...wishesOf(script), event: script.dataset["float"] })
  const opener = openers.find((options) => options.event === event)
  if (opener) open(opener)
}

function start(): void {
  for (const element of document.querySelectorAll<HTMLElement>("[data-holdfirst=inline]")) {
    inline(element, wishesOf(element))
  }
  addEventListener("click", (event) => {
    const link = (event.target as Element | null)?.closest?.<HTMLElement>("[data-holdfirst=popup]")
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return
    event.preventDefault()
    open(wishesOf(link))
  })
  if (script.dataset["float"]) {
    float({ ...wishesOf(script), event: script.dataset["float"] }, script.dataset["floatText"] ?? "Book")
  }
  resume()
}

Object.assign(window, { Holdfirst: { inline, open, float } })
if (document.readyState === "loading") addEventListener("DOMContentLoaded", start)
else start()
