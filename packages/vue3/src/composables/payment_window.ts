// SPDX-License-Identifier: Apache-2.0
// A window of its own for the payment page. Opened in the click itself, before anything is waited for, since browsers
// take a later one for an advertisement; where it leads is known when the server has answered.

import { ref } from "vue"

const LOOK = "popup,width=480,height=720"
const LOOK_EVERY_MS = 500

export type PaymentWindow = ReturnType<typeof createPaymentWindow>

export function createPaymentWindow() {
  /** `closed` is what the browser says, and some payment pages cut the tie to us: then it says so while they are open. */
  const state = ref<"none" | "open" | "closed" | "blocked">("none")
  let opened: Window | null = null
  let looking: ReturnType<typeof setInterval> | undefined

  const isOpen = () => opened !== null && !opened.closed

  /** In the click. Twice is once. */
  function open(words: string): void {
    if (isOpen()) return
    opened = globalThis.open("", "_blank", LOOK)
    state.value = isOpen() ? "open" : "blocked"
    if (opened) {
      opened.opener = null
      opened.document.body.textContent = opened.document.title = words
    }
    clearInterval(looking)
    looking = setInterval(() => {
      if (state.value !== "open" || isOpen()) return
      state.value = "closed"
      clearInterval(looking)
    }, LOOK_EVERY_MS)
  }

  /** False: there is no window to go there. */
  function lead(url: string): boolean {
    if (!isOpen()) return false
    opened?.location.replace(url)
    return true
  }

  function close(): void {
    clearInterval(looking)
    opened?.close()
    opened = null
    state.value = "none"
  }

  return { state, open, lead, close, show: () => opened?.focus() }
}
