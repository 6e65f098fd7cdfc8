// SPDX-License-Identifier: Apache-2.0
import vue from "@vitejs/plugin-vue"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  plugins: [vue()],
  resolve: {
    alias: [
      { find: /^@holdfirst\/vue3$/, replacement: here("vue3/src/index.ts") },
      { find: /^@holdfirst\/vue3\/core$/, replacement: here("vue3/src/core/index.ts") },
      { find: /^@holdfirst\/vue3\/(.*)$/, replacement: here("vue3/src/$1") },
    ],
  },
  test: { environment: "happy-dom", include: ["*/test/**/*.test.ts"] },
})
