// SPDX-License-Identifier: Apache-2.0
// The npm package: ESM, Vue and its own dependencies left outside, one style sheet.

import vue from "@vitejs/plugin-vue"
import { copyFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vite"

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const OUTSIDE = [/^vue($|\/)/, /^@holdfirst\/vue3$/, /^@nuxt\//, /^reka-ui/, /^@internationalized\//, /^#/]

export default defineConfig({
  root: here("."),
  plugins: [
    vue(),
    { name: "style", closeBundle: () => copyFileSync(here("src/style.css"), here("dist/style.css")) },
  ],
  build: {
    target: "es2022",
    minify: false,
    lib: {
      formats: ["es"],
      entry: {
        index: here("src/index.ts"),
        core: here("src/core/index.ts"),
        nuxt: here("src/nuxt/module.ts"),
        "nuxt-plugin": here("src/nuxt/plugin.ts"),
      },
    },
    rolldownOptions: {
      external: (id) => OUTSIDE.some((one) => one.test(id)),
      output: { entryFileNames: "[name].js", chunkFileNames: "chunks/[name]-[hash].js" },
    },
  },
})
