// SPDX-License-Identifier: Apache-2.0
// Runs in the integrator's Nuxt, on the server and in the browser: one holdfirst an application.

import { createHoldfirst } from "@holdfirst/vue3"
// @ts-ignore  Nuxt's own, where this runs
import { defineNuxtPlugin, useRuntimeConfig } from "#imports"

interface Told {
  baseUrl: string
  publishableKey: string
  locale?: string
  timeZone?: string
}

export default defineNuxtPlugin(async (nuxtApp: { vueApp: { use(plugin: unknown): void } }) => {
  const told = useRuntimeConfig().public.holdfirst as Told
  const { baseUrl, publishableKey, locale, timeZone } = told
  const holdfirst = createHoldfirst({ baseUrl, publishableKey, ...(timeZone ? { timeZone } : {}) })
  // The words are there before the first render, so that server and browser say the same.
  if (locale) await holdfirst.setLocale(locale)
  nuxtApp.vueApp.use(holdfirst)
})
