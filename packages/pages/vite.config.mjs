// SPDX-License-Identifier: Apache-2.0
// The hosted pages, as files beside the server's code; one folder, names hashed by content.

import vue from "@vitejs/plugin-vue"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vite"
import { bareImports } from "../bare_imports.mjs"
import { gregorianOnly } from "../gregorian.mjs"
import { packed } from "../packed.mjs"
import { squeezed } from "../squeezed.mjs"

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

const LATER = /ManagePage|ManageBooking|later_steps|Countdown|HoldfirstForm|HoldfirstQuestion|HoldfirstPayment|HoldfirstSummary|calendar_links|composables\/form|messages\//
const isNeededAtOnce = (id) => !LATER.test(id) && !id.endsWith("src/main.ts")

export default defineConfig({
  root: here("."),
  base: "./",
  plugins: [gregorianOnly(), bareImports(), vue(), squeezed(), packed()],
  resolve: {
    alias: [
      // Every language is fetched when it is wanted, English too.
      { find: "./english", replacement: here("src/no_english.ts") },
      { find: "@holdfirst/vue3/style.css", replacement: here("../vue3/src/style.css") },
      { find: /^@holdfirst\/vue3$/, replacement: here("../vue3/src/index.ts") },
      { find: /^@holdfirst\/vue3\/(.*)$/, replacement: here("../vue3/src/$1") },
    ],
    dedupe: ["vue"],
  },
  define: { __VUE_OPTIONS_API__: "false", __VUE_PROD_DEVTOOLS__: "false", __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false" },
  build: {
    outDir: "../../src/holdfirst/web/built",
    emptyOutDir: true,
    manifest: "manifest.json",
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    rolldownOptions: {
      input: here("src/main.ts"),
      output: { entryFileNames: "[name]-[hash].js", chunkFileNames: "[name]-[hash].js", assetFileNames: "[name]-[hash][extname]",
        // What every page needs travels together: one file, packed better than three.
        codeSplitting: { groups: [{ name: "holdfirst", test: isNeededAtOnce }] },
      },
    },
  },
})
