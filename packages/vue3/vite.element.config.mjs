// SPDX-License-Identifier: Apache-2.0
// `./element` for pages without Vue: everything inside, so that nobody's bundler has to know Vue.

import vue from "@vitejs/plugin-vue"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vite"
import { gregorianOnly } from "../gregorian.mjs"

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  root: here("."),
  plugins: [gregorianOnly(), vue()],
  define: {
    "process.env.NODE_ENV": '"production"',
    __VUE_OPTIONS_API__: "true",
    __VUE_PROD_DEVTOOLS__: "false",
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
  },
  build: {
    target: "es2022",
    emptyOutDir: false,
    modulePreload: false,
    lib: { formats: ["es"], entry: { element: here("src/element/index.ts") } },
    rolldownOptions: { output: { entryFileNames: "[name].js", chunkFileNames: "chunks/element-[name]-[hash].js" } },
  },
})
