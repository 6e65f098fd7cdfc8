// SPDX-License-Identifier: Apache-2.0
// The loader: one classic script, beside the hosted pages.

import { fileURLToPath } from "node:url"
import { defineConfig } from "vite"
import { packed } from "../packed.mjs"

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  root: here("."),
  plugins: [packed()],
  build: {
    outDir: "../../src/holdfirst/web/built",
    emptyOutDir: false,
    target: "es2022",
    lib: { entry: here("src/embed.ts"), formats: ["iife"], name: "holdfirstEmbed", fileName: () => "embed.js" },
  },
})
