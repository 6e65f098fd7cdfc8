// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest"
import { createWords, english, languageOf, LANGUAGES, loadMessages } from "../src/core/languages"

const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]).sort()

describe.each(LANGUAGES.filter((one) => one !== "en"))("%s", async (language) => {
  const messages = (await loadMessages(language)) as unknown as Record<string, string | Record<string, string>>
  const reference = english as unknown as Record<string, string | Record<string, string>>

  it("says everything, and nothing else", () => {
    expect(Object.keys(messages).sort()).toEqual(Object.keys(reference).sort())
  })

  it("fills in what English fills in", () => {
    for (const [key, text] of Object.entries(reference)) {
      const here = messages[key]
      if (typeof text === "string") expect(placeholders(String(here)), key).toEqual(placeholders(text))
    }
  })

  it("has each plural form that its counting needs", () => {
    const needed = new Intl.PluralRules(language).resolvedOptions().pluralCategories.sort()
    for (const [key, forms] of Object.entries(reference)) {
      if (typeof forms !== "string") expect(Object.keys(messages[key] ?? {}).sort(), key).toEqual(needed)
    }
  })

  it("is not English left standing", () => {
    const same = Object.keys(reference).filter((key) => messages[key] === reference[key])
    expect(same.filter((key) => !["name", "email", "location_link", "seats"].includes(key))).toEqual([])
  })
})

it("falls back to English for a language that we do not speak", async () => {
  expect(languageOf("tlh-QO")).toBe("en")
  expect(await loadMessages("tlh")).toBe(english)
  expect(languageOf("de-AT")).toBe("de")
})

it("counts as the language does", async () => {
  const polish = createWords(await loadMessages("pl"), "pl")
  expect([1, 3, 5].map((count) => polish.count("times_left", count))).toEqual([
    "1 wolny termin", "3 wolne terminy", "5 wolnych terminów",
  ])
})

it("leaves a placeholder standing rather than losing it, and fills no placeholder of a filled text", () => {
  const words = createWords(english, "en")
  expect(words.say("failed")).toContain("{code}")
  expect(words.say("failed", { code: "{code}" })).toContain("({code})")
})
