// SPDX-License-Identifier: Apache-2.0
// Says when to ask for slots again: a stream of hints where it goes, the answer's own next change, and a slow poll.

export interface SlotWatch {
  /** After an answer: when time alone will change it (the server's time), or null. */
  nextChange(at: string | null, serverNow: number): void
  stop(): void
}

const JITTER_MS = 400
const POLL_MS = 60_000
const POLL_WITHOUT_STREAM_MS = 10_000
const TIMER_MS_MAX = 2_147_000_000

/** `changed`: days to ask again for (local dates), or null for all. Nothing runs while the page is hidden. */
export function watchSlots(url: string, changed: (days: string[] | null) => void): SlotWatch {
  let source: EventSource | null = null
  let poll: ReturnType<typeof setInterval> | undefined
  let due: ReturnType<typeof setTimeout> | undefined
  let soon: ReturnType<typeof setTimeout> | undefined
  let days: Set<string> | null = new Set()

  function hint(more: string[] | null): void {
    days = more === null || days === null ? null : new Set([...days, ...more])
    // Everybody who watches this slot hears at once; they need not all ask at once.
    soon ??= setTimeout(() => {
      const asked = days === null ? null : [...days]
      days = new Set()
      soon = undefined
      changed(asked)
    }, Math.random() * JITTER_MS)
  }

  function pollEvery(ms: number): void {
    clearInterval(poll)
    poll = setInterval(() => changed(null), ms)
  }

  function open(): void {
    if (typeof EventSource === "undefined") return pollEvery(POLL_WITHOUT_STREAM_MS)
    pollEvery(POLL_MS)
    source = new EventSource(url)
    source.addEventListener("changed", (event) => hint(daysIn((event as MessageEvent<string>).data)))
    source.addEventListener("error", () => {
      // Closed for good (a proxy, a limit): a browser tries again only where the stream broke off.
      if (source?.readyState === 2) pollEvery(POLL_WITHOUT_STREAM_MS)
    })
  }

  function close(): void {
    source?.close()
    source = null
    clearInterval(poll)
  }

  function seen(): void {
    if (document.visibilityState === "visible") {
      if (source === null) open()
      hint(null)
    } else close()
  }

  const online = () => hint(null)
  document.addEventListener("visibilitychange", seen)
  globalThis.addEventListener("online", online)
  if (document.visibilityState === "visible") open()

  return {
    nextChange(at, serverNow) {
      clearTimeout(due)
      const wait = at === null ? Number.NaN : Date.parse(at) - serverNow
      if (!Number.isNaN(wait)) due = setTimeout(() => hint(null), Math.min(Math.max(wait, 0) + 50, TIMER_MS_MAX))
    },
    stop() {
      close()
      clearTimeout(due)
      clearTimeout(soon)
      document.removeEventListener("visibilitychange", seen)
      globalThis.removeEventListener("online", online)
    },
  }
}

function daysIn(text: string): string[] | null {
  try {
    const told = JSON.parse(text) as { days?: unknown }
    return Array.isArray(told.days) ? told.days.map(String) : null
  } catch {
    return null
  }
}
