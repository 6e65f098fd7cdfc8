// SPDX-License-Identifier: Apache-2.0
// Server and key come from NUXT_PUBLIC_HOLDFIRST_BASE_URL and NUXT_PUBLIC_HOLDFIRST_PUBLISHABLE_KEY.
export default defineNuxtConfig({
  modules: ["@holdfirst/vue3/nuxt"],
  holdfirst: { locale: "de" },
  runtimeConfig: { public: { eventType: "" } },
  compatibilityDate: "2026-01-01",
  telemetry: false,
})
