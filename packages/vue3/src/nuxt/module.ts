// SPDX-License-Identifier: Apache-2.0
// The Nuxt module: components and composables by name, the server and its key from the runtime configuration.

import { addComponent, addImports, addPlugin, defineNuxtModule } from "@nuxt/kit"

export interface ModuleOptions {
  /** Where the holdfirst server is. Also NUXT_PUBLIC_HOLDFIRST_BASE_URL. */
  baseUrl?: string
  /** `hf_pk_…`. Also NUXT_PUBLIC_HOLDFIRST_PUBLISHABLE_KEY. */
  publishableKey?: string
  locale?: string
  timeZone?: string
  /** Whether to bring our style sheet. @default true */
  style?: boolean
}

/** What of Nuxt is touched here. */
interface NuxtSeen {
  options: { runtimeConfig: { public: Record<string, unknown> }; css: string[]; build: { transpile: unknown[] } }
}

const PACKAGE = "@holdfirst/vue3"
const COMPONENTS = [
  "HoldfirstCalendar", "HoldfirstCountdown", "HoldfirstForm", "HoldfirstMonth", "HoldfirstOffer", "HoldfirstPayment",
  "HoldfirstRoot", "HoldfirstSeats", "HoldfirstSummary", "HoldfirstTimes", "HoldfirstTrouble", "HoldfirstZone",
]
// `reserve` and `confirm` are words that others use: they are imported by hand.
const COMPOSABLES = ["useCalendar", "useHoldfirst", "useReservation", "useSelectedTimeSlot"]

export default defineNuxtModule<ModuleOptions>({
  meta: { name: PACKAGE, configKey: "holdfirst", compatibility: { nuxt: ">=4.0.0" } },
  defaults: { baseUrl: "", publishableKey: "", locale: "", timeZone: "", style: true },
  setup(options: ModuleOptions, nuxt: NuxtSeen) {
    const { style, ...told } = options
    nuxt.options.runtimeConfig.public["holdfirst"] = {
      ...told,
      ...(nuxt.options.runtimeConfig.public["holdfirst"] as object | undefined),
    }
    if (style) nuxt.options.css.push(`${PACKAGE}/style.css`)
    nuxt.options.build.transpile.push(PACKAGE)
    for (const name of COMPONENTS) addComponent({ name, export: name, filePath: PACKAGE })
    addImports(COMPOSABLES.map((name) => ({ name, from: PACKAGE })))
    addPlugin(`${PACKAGE}/nuxt/plugin`)
  },
})
