// SPDX-License-Identifier: Apache-2.0
// A Vite plugin: what is imported later is imported plainly. Vite's own helper fetches its style sheets and preloads
// first; the pages have one style sheet, in the shell, and the shell names what to preload.

const HELPER = "\0vite/preload-helper.js"

export function bareImports() {
  return {
    name: "bare-imports",
    enforce: "pre",
    resolveId: (id) => (id === HELPER ? id : null),
    load: (id) => (id === HELPER ? "export const __vitePreload = (load) => load()" : null),
  }
}
