// SPDX-License-Identifier: Apache-2.0
// The server's time on a device whose own clock may be wrong by a day.

interface Sample {
  /** Server time minus ours, in milliseconds. */
  offset: number
  /** By how much that may be wrong. */
  doubt: number
  at: number
  wall: number
}

const OLD_MS = 60_000
const SLEPT_MS = 2_000

/** Counts on the steady clock, which nobody sets; falls back on the device's clock until the server has spoken. */
export class ServerClock {
  #sample: Sample | null = null

  mark(): number {
    return steady()
  }

  /** `told` was true between `asked` (a mark) and now; `coarseness`: how finely it was told. */
  observe(told: string | null, asked: number, coarseness: number): void {
    const server = told === null ? Number.NaN : Date.parse(told)
    if (Number.isNaN(server)) return
    const now = steady()
    const doubt = (now - asked) / 2 + coarseness
    if (this.#sample !== null && !this.#stale(now) && doubt > this.#sample.doubt) return
    const middle = server + coarseness / 2 - (asked + now) / 2
    this.#sample = { offset: middle, doubt, at: now, wall: Date.now() }
  }

  now(): number {
    return this.#sample === null ? Date.now() : steady() + this.#sample.offset
  }

  /** Old, or from before the device slept: some steady clocks stand still meanwhile. */
  #stale(now: number): boolean {
    const sample = this.#sample
    if (sample === null) return true
    const slept = Math.abs(Date.now() - sample.wall - (now - sample.at)) > SLEPT_MS
    return slept || now - sample.at > OLD_MS
  }
}

function steady(): number {
  return typeof performance === "undefined" ? Date.now() : performance.now()
}
