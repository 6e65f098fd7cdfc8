// SPDX-License-Identifier: Apache-2.0
// Where a hold is remembered between two page loads of one tab: session storage, or this page alone where that is shut.

export interface KeptHold {
  id: string
  secret: string
}

const inMemory = new Map<string, string>()

/** `name`: whose calendar; two calendars do not share a hold. */
export function keepHold(name: string, hold: KeptHold): void {
  const text = JSON.stringify(hold)
  inMemory.set(key(name), text)
  storage()?.setItem(key(name), text)
}

export function keptHold(name: string): KeptHold | null {
  const text = storage()?.getItem(key(name)) ?? inMemory.get(key(name)) ?? null
  try {
    const found: unknown = text === null ? null : JSON.parse(text)
    return isKept(found) ? found : null
  } catch {
    return null
  }
}

export function forgetHold(name: string): void {
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
