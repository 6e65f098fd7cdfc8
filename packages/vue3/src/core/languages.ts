// SPDX-License-Identifier: Apache-2.0
// What is said, in each language. English is always here; the others are fetched when they are wanted.

import type en from "../messages/en.json"
import { english } from "./english"

export { english }
export type Messages = typeof en
export type MessageKey = keyof Messages
type Plain = { [Key in MessageKey]: Messages[Key] extends string ? Key : never }[MessageKey]
type Counted = Exclude<MessageKey, Plain>
export type Values = Record<string, string | number>

const fetched = {
  en: () => import("../messages/en.json"),
  de: () => import("../messages/de.json"),
  cs: () => import("../messages/cs.json"),
  sk: () => import("../messages/sk.json"),
  pl: () => import("../messages/pl.json"),
  fr: () => import("../messages/fr.json"),
  es: () => import("../messages/es.json"),
  it: () => import("../messages/it.json"),
  pt: () => import("../messages/pt.json"),
  ja: () => import("../messages/ja.json"),
  ar: () => import("../messages/ar.json"),
}

export const LANGUAGES = Object.keys(fetched)

/** `de-AT` → `de`; a language that we do not speak → `en`. */
export function languageOf(locale: string): string {
  const language = locale.toLowerCase().split("-")[0] ?? "en"
  return LANGUAGES.includes(language) ? language : "en"
}

export async function loadMessages(locale: string): Promise<Messages> {
  const language = languageOf(locale)
  if (language === "en" && english.choose_day) return english
  const loaded = await fetched[language as keyof typeof fetched]()
  return loaded.default as unknown as Messages
}

export function isRightToLeft(locale: string): boolean {
  return ["ar", "fa", "he", "ur"].includes(locale.toLowerCase().split("-")[0] ?? "")
}

export type Words = ReturnType<typeof createWords>

/** `say("held_for", {time})`, `count("times_left", 3)`. */
export function createWords(messages: Messages, locale: string) {
  const plural = new Intl.PluralRules(locale)
  const number = new Intl.NumberFormat(locale)
  return {
    say: (key: Plain, values: Values = {}): string => filled(messages[key] ?? english[key] ?? key, values),
    count: (key: Counted, count: number, values: Values = {}): string => {
      const forms = (messages[key] ?? english[key] ?? {}) as Partial<Record<Intl.LDMLPluralRule, string>>
      return filled(forms[plural.select(count)] ?? forms.other ?? "", { ...values, count: number.format(count) })
    },
  }
}

function filled(text: string, values: Values): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole))
}
