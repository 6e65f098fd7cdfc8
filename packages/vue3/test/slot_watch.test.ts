// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { watchSlots } from "../src/core/slot_watch"

class Stream {
  static last: Stream
  readyState = 1
  listeners: Record<string, (event: { data: string }) => void> = {}
  constructor(readonly url: string) { Stream.last = this }
  addEventListener(name: string, listener: (event: { data: string }) => void) { this.listeners[name] = listener }
  close() { this.readyState = 2 }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

it("gathers hints for less than half a second", () => {
  vi.stubGlobal("EventSource", Stream)
  const changed = vi.fn()
  const watch = watchSlots("https://book.example/stream", changed)
  Stream.last.listeners["changed"]!({ data: '{"days":["2026-12-07"]}' })
  Stream.last.listeners["changed"]!({ data: '{"days":["2026-12-08"]}' })
  vi.advanceTimersByTime(400)
  expect(changed.mock.calls).toEqual([[["2026-12-07", "2026-12-08"]]])
  watch.stop()
  expect(Stream.last.readyState).toBe(2)
})

it("asks every ten seconds where no stream goes, or where one was shut for good", () => {
  for (const stub of [undefined, Stream]) {
    vi.stubGlobal("EventSource", stub)
    const changed = vi.fn()
    const watch = watchSlots("https://book.example/stream", changed)
    if (stub) {
      vi.advanceTimersByTime(50_000)
      expect(changed).not.toHaveBeenCalled()
      Stream.last.readyState = 2
      Stream.last.listeners["error"]!({ data: "" })
    }
    vi.advanceTimersByTime(20_000)
    expect(changed.mock.calls).toEqual([[null], [null]])
    watch.stop()
    vi.advanceTimersByTime(60_000)
    expect(changed).toHaveBeenCalledTimes(2)
  }
})

it("asks again when time alone has changed what is free, by the server's clock", () => {
  vi.stubGlobal("EventSource", Stream)
  const changed = vi.fn()
  const watch = watchSlots("https://book.example/stream", changed)
  watch.nextChange("2026-12-07T09:00:30.000Z", Date.parse("2026-12-07T09:00:00.000Z"))
  vi.advanceTimersByTime(29_000)
  expect(changed).not.toHaveBeenCalled()
  vi.advanceTimersByTime(1_500)
  expect(changed.mock.calls).toEqual([[null]])
  watch.stop()
})
