// SPDX-License-Identifier: Apache-2.0
// Each event reaches the element as `holdfirst:<type>` and bubbles.
const types = ["ready", "slot", "submitting", "reserved", "released", "hold_expired", "payment_started", "confirmed", "navigate", "close"]
for (const type of types) {
  document.addEventListener(`holdfirst:${type}`, ({ detail }) => {
    const line = document.createElement("li")
    line.textContent = JSON.stringify(detail)
    document.getElementById("told").append(line)
  })
}
