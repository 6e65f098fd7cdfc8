// SPDX-License-Identifier: Apache-2.0
// Where a hold is remembered between two page loads of one tab, and what was typed for it and not sent yet: session
// storage, or this page alone where that is shut.

export interface KeptHold {
  id: string
  secret: string
}

const inMemory = new Map<string, string>()

/** `name`: whose calendar; two calendars do not share a hold. */
export function keepHold(name: string, hold: KeptHold): void {
  keep(name, hold)
}

export function keptHold(name: string): KeptHold | null {
  const found = kept(name)
  return isKept(found) ? found : null
}

export function forgetHold(name: string): void {
  forget(name)
}

/** What was typed for a reservation; it goes when it was sent, or when the hold is over. */
export function keepDraft(reservation: string, draft: unknown): void {
  keep(`draft ${reservation}`, draft)
}

export function keptDraft(reservation: string): unknown {
  return kept(`draft ${reservation}`)
}

export function forgetDraft(reservation: string): void {
  forget(`draft ${reservation}`)
}

function keep(name: string, value: unknown): void {
  const text = JSON.stringify(value)
  inMemory.set(key(name), text)
  try {
    storage()?.setItem(key(name), text)
  } catch {
    // Full: then this page alone remembers.
  }
}

function kept(name: string): unknown {
  const text = storage()?.getItem(key(name)) ?? inMemory.get(key(name)) ?? null
  try {
    return text === null ? null : JSON.parse(text)
  } catch {
    return null
  }
}

function forget(name: string): void {
  inMemory.delete(key(name))
  storage()?.removeItem(key(name))
}

function key(name: string): string {
  return `holdfirst ${name}`
}

function isKept(value: unknown): value is KeptHold {
  const kept = value as Partial<KeptHold> | null
  return typeof kept?.id === "string" && typeof kept.secret === "string"
}

/** A sandboxed frame, or a browser that blocks it, throws at the mere mention. */
function storage(): Storage | null {
  try {
    const found = globalThis.sessionStorage
    found.setItem("holdfirst", "")
    found.removeItem("holdfirst")
    return found
  } catch {
    return null
  }
}
