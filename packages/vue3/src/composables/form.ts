// SPDX-License-Identifier: Apache-2.0
// The form: fields from the event type, values as typed, faults field by field.

import { computed, reactive, ref } from "vue"
import { Refused } from "../core/client"
import type { Details, EventType, Question, Reservation } from "../core/wire"

export type Answer = string | boolean | string[]
export type Fault = "fill_in" | "email_wrong" | "field_wrong"

export interface Prefill {
  name?: string
  email?: string
  phone?: string
  answers?: Record<string, string>
}

const TEXT_MAX = 500
// The server has the last word on addresses; this is against slips of the finger.
const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/u

/** The fields as they were left: by a reload, or by the hold before this one. */
export interface Draft {
  name: string
  email: string
  phone: string
  guests: string[]
  answers: Record<string, Answer>
}

export type FormState = ReturnType<typeof createForm>

/** `draft`: read back from where it was kept, so of any shape. */
export function createForm(
  offer: EventType, reservation: Reservation | null, prefill: Prefill = {}, draft: unknown = null,
) {
  const known = (reservation?.customer ?? {}) as Record<string, unknown>
  const left = (typeof draft === "object" && draft !== null ? draft : {}) as { [Field in keyof Draft]?: unknown }
  const leftAnswers = (left.answers ?? {}) as Record<string, unknown>
  const guests = Array.isArray(left.guests) ? left.guests.map(text) : (reservation?.guests ?? [])
  const values: Draft = reactive({
    name: text(left.name ?? known["name"] ?? prefill.name),
    email: text(left.email ?? known["email"] ?? prefill.email),
    phone: text(left.phone ?? known["phone"] ?? prefill.phone),
    guests: guests.slice(0, offer.guests_max ?? 0),
    answers: Object.fromEntries(
      offer.questions?.map((question) => {
        const first = firstAnswer(question, reservation, prefill)
        const typed = leftAnswers[question.key]
        return [question.key, isLike(typed, first) ? typed : first]
      }) ?? [],
    ),
  })
  const faults = ref<Record<string, Fault>>({})
  const asksPhone = computed(() => offer.location?.kind === "phone" || !!prefill.phone || !!known["phone"])

  /** Field by field, what is missing or plainly wrong; true: nothing. */
  function check(): boolean {
    const found: Record<string, Fault> = {}
    if (!values.name.trim()) found["customer.name"] = "fill_in"
    if (!values.email.trim()) found["customer.email"] = "fill_in"
    else if (!EMAIL.test(values.email.trim())) found["customer.email"] = "email_wrong"
    if (offer.location?.kind === "phone" && !values.phone.trim()) found["customer.phone"] = "fill_in"
    for (const question of offer.questions ?? []) {
      const answer = values.answers[question.key]
      const empty = answer === undefined || answer === "" || (Array.isArray(answer) && answer.length === 0)
      if (question.required && empty) found[`answers.${question.key}`] = "fill_in"
      else if (!empty && question.kind === "email" && !EMAIL.test(String(answer))) {
        found[`answers.${question.key}`] = "email_wrong"
      } else if (!empty && question.kind === "number" && Number.isNaN(Number(answer))) {
        found[`answers.${question.key}`] = "field_wrong"
      }
    }
    faults.value = found
    return Object.keys(found).length === 0
  }

  function details(): Details {
    const answers = Object.fromEntries(
      (offer.questions ?? []).map((question) => [question.key, wireAnswer(question, values.answers[question.key])]),
    )
    return {
      customer: {
        name: values.name.trim(),
        email: values.email.trim(),
        ...(asksPhone.value ? { phone: values.phone.trim() || null } : {}),
      },
      ...((offer.guests_max ?? 0) > 0 ? { guests: values.guests.map((guest) => guest.trim()).filter(Boolean) } : {}),
      ...(offer.questions?.length ? { answers } : {}),
    }
  }

  /** The server's word on single fields, shown where they are. */
  function takeRefusal(failure: unknown): boolean {
    if (!(failure instanceof Refused) || failure.fields.length === 0) return false
    const missing = failure.code === "details_missing"
    const fault = (field: string): Fault => {
      if (missing) return "fill_in"
      return field.endsWith("email") ? "email_wrong" : "field_wrong"
    }
    faults.value = Object.fromEntries(failure.fields.map((field) => [field, fault(field)]))
    return true
  }

  return { offer, values, faults, asksPhone, check, details, takeRefusal }
}

function text(value: unknown): string {
  return typeof value === "string" ? value.slice(0, TEXT_MAX) : ""
}

/** Whether what was kept can stand where `first` stands. */
function isLike(typed: unknown, first: Answer): typed is Answer {
  return Array.isArray(first)
    ? Array.isArray(typed) && typed.every((one) => typeof one === "string")
    : typeof typed === typeof first
}

function firstAnswer(question: Question, reservation: Reservation | null, prefill: Prefill): Answer {
  const told = (reservation?.answers as Record<string, unknown> | undefined)?.[question.key]
  if (question.kind === "choices") return Array.isArray(told) ? told.map(String) : []
  if (question.kind === "yes_no") return told === true
  return told === undefined || told === null ? text(prefill.answers?.[question.key]) : String(told)
}

function wireAnswer(question: Question, answer: Answer | undefined): unknown {
  if (question.kind === "number") return answer === "" || answer === undefined ? null : Number(answer)
  if (question.kind === "yes_no") return answer === true
  if (question.kind === "choices") return answer
  return answer === "" ? null : answer
}
