// SPDX-License-Identifier: Apache-2.0
// <holdfirst-calendar> for pages without Vue: React, Svelte, Rails, plain HTML.
//
// Light DOM, so that the page's own style applies and payment forms of providers can be mounted beside it.

import { defineComponent, defineCustomElement, h, type PropType } from "vue"
import HoldfirstCalendar from "../components/HoldfirstCalendar.vue"
import { createHoldfirst, provideHoldfirst, type Holdfirst } from "../composables/holdfirst"
import type { BookingEvent } from "../composables/booking"
import type { PaymentWay } from "../composables/hold"

const WithHoldfirst = defineComponent({
  props: { holdfirst: { type: Object as PropType<Holdfirst>, required: true } },
  setup(props, { slots }) {
    provideHoldfirst(props.holdfirst)
    return () => slots["default"]?.()
  },
})

export const HoldfirstElement = defineCustomElement(
  {
    props: {
      baseUrl: { type: String, required: true },
      publishableKey: { type: String, required: true },
      eventType: { type: String, required: true },
      host: String,
      calendarId: String,
      timeZone: String,
      locale: String,
      flow: { type: String, default: "full" },
      payment: { type: String, default: "checkout" },
      returnUrl: String,
    },
    emits: ["ready", "reserved", "hold-expired", "released", "payment-started", "confirmed", "slot"],
    setup(props, { emit }) {
      const options = { baseUrl: props.baseUrl, publishableKey: props.publishableKey }
      const holdfirst = createHoldfirst(props.timeZone ? { ...options, timeZone: props.timeZone } : options)
      if (props.locale) void holdfirst.setLocale(props.locale).catch(() => undefined)
      const pass = (name: Parameters<typeof emit>[0]) => (event?: BookingEvent) => emit(name, event)
      return () =>
        h(WithHoldfirst, { holdfirst }, () =>
          h(HoldfirstCalendar, {
            eventType: props.eventType,
            host: props.host,
            calendarId: props.calendarId,
            timeZone: props.timeZone,
            flow: props.flow as "full" | "pick",
            payment: props.payment as PaymentWay,
            ...(props.returnUrl ? { pay: { returnUrl: props.returnUrl } } : {}),
            onReady: pass("ready"),
            onReserved: pass("reserved"),
            onHoldExpired: pass("hold-expired"),
            onReleased: pass("released"),
            onPaymentStarted: pass("payment-started"),
            onConfirmed: pass("confirmed"),
            "onUpdate:slot": (slot) => emit("slot", slot),
          }),
        )
    },
  },
  { shadowRoot: false },
)

/** `<holdfirst-calendar base-url publishable-key event-type>`; events bubble as `CustomEvent`s with `detail[0]`. */
export function defineHoldfirstElement(name = "holdfirst-calendar"): void {
  if (!customElements.get(name)) customElements.define(name, HoldfirstElement)
}
