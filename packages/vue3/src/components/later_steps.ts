// SPDX-License-Identifier: Apache-2.0
// What comes after a time is chosen: fetched while the customer chooses.

export { default as HoldfirstCountdown } from "./HoldfirstCountdown.vue"
export { default as HoldfirstForm } from "./HoldfirstForm.vue"
export { default as HoldfirstPayment } from "./HoldfirstPayment.vue"
export { default as HoldfirstSummary } from "./HoldfirstSummary.vue"
