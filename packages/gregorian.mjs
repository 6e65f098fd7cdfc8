// SPDX-License-Identifier: Apache-2.0
// A Vite plugin: the hosted pages count in the Gregorian calendar alone, and leave the others of the library at home.

const GREGORIAN = "GregorianCalendar"

export function gregorianOnly() {
  return {
    name: "gregorian-only",
    enforce: "pre",
    transform(code, id) {
      if (!/@internationalized\/date\/.*createCalendar\.mjs/.test(id)) return null
      const kept = new RegExp(`import \\{${GREGORIAN} as ([\\w$]+)\\}`).exec(code)?.[1]
      if (kept === undefined) throw new Error(`gregorianOnly: ${id} looks different now`)
      const names = []
      const lean = code.replace(/^import \{([^}]+)\} from "\.\/calendars\/[^"]+";$/gm, (line, imported) => {
        if (line.includes(`{${GREGORIAN} as`)) return line
        names.push(...imported.split(",").map((one) => one.trim().split(" as ")[1]))
        return ""
      })
      return { code: names.reduce((text, name) => text.replaceAll(name, kept), lean), map: null }
    },
  }
}
