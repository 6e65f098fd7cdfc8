// SPDX-License-Identifier: Apache-2.0
// What a page can arrange by itself: slots of the template, models, parts, and each verb of useReservation().

import { flushPromises, mount } from "@vue/test-utils"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { defineComponent, h, ref } from "vue"
import {
  createHoldfirst, HoldfirstCalendar, HoldfirstMonth, HoldfirstRoot, HoldfirstTimes, useReservation, useSelectedTimeSlot,
  type HoldfirstOptions, type Slot,
} from "../src/index"
import { FakeServer } from "./fake_server"

let server: FakeServer
let open: { unmount(): void }[] = []

beforeEach(() => {
  server = new FakeServer()
  sessionStorage.clear()
  vi.stubGlobal("EventSource", class { addEventListener() {} close() {} readyState = 1 })
})
afterEach(() => {
  open.forEach((one) => one.unmount())
  open = []
  vi.unstubAllGlobals()
})

async function shown(setup: () => () => unknown, more: Partial<HoldfirstOptions> = {}) {
  const plugin = createHoldfirst({
    baseUrl: "https://book.example", publishableKey: "hf_pk_1", fetch: server.fetch, timeZone: "UTC", ...more,
  })
  const wrapper = mount(defineComponent({ setup }), { global: { plugins: [plugin] }, attachTo: document.body })
  open.push(wrapper)
  await flushPromises()
  await flushPromises()
  return wrapper
}

describe("the slots of the template", () => {
  const slots = {
    day: ({ date, count }: { date: string; count: number }) => h("b", { class: "my-day" }, `${date}: ${count}`),
    time: ({ time, choose }: { time: Slot; choose: () => void }) =>
      h("button", { class: "my-time", onClick: choose }, time.start),
    form: ({ reservation }: { reservation: { id: string } }) => h("p", { class: "my-form" }, reservation.id),
    payment: ({ reservation }: { reservation: { payment: { id: string } } }) =>
      h("p", { class: "my-payment" }, reservation.payment.id),
    summary: ({ reservation, again }: { reservation: { status: string }; again: () => void }) =>
      h("button", { class: "my-summary", onClick: again }, reservation.status),
  }

  it("take the place of ours, on the whole way", async () => {
    let hold!: ReturnType<typeof useReservation>
    const wrapper = await shown(() => {
      hold = useReservation()
      return () => h(HoldfirstCalendar, { eventType: "intro" }, slots)
    })
    expect(wrapper.find("[data-value='2026-12-07'] .my-day").text()).toBe("2026-12-07: 3")
    expect(wrapper.find(".hf-time").exists()).toBe(false)
    await wrapper.find(".my-time").trigger("click")
    await flushPromises()
    expect(wrapper.find(".my-form").text()).toBe("res_1")
    expect(wrapper.find(".hf-form").exists()).toBe(false)
    await hold.pay({ returnUrl: "https://shop.example/", navigate: () => undefined })
    await flushPromises()
    expect(wrapper.find(".my-payment").text()).toBe("pay_1")
    await hold.confirm()
    await flushPromises()
    expect(wrapper.find(".my-summary").text()).toBe("confirmed")
    await wrapper.find(".my-summary").trigger("click")
    await flushPromises()
    expect(wrapper.find(".my-time").exists()).toBe(true)
  })
})

describe("useReservation()", () => {
  it("has each verb, and says what the server said", async () => {
    let hold!: ReturnType<typeof useReservation>
    let selected!: ReturnType<typeof useSelectedTimeSlot>
    const wrapper = await shown(() => {
      hold = useReservation()
      selected = useSelectedTimeSlot()
      return () => h(HoldfirstCalendar, { eventType: "intro", flow: "pick" })
    })
    expect(hold.status.value).toBe("none")
    await expect(hold.extend()).rejects.toThrow("Nothing is reserved yet.")
    selected.select(server.slots[0]!)
    await hold.reserve({ customer: { name: "Anna" } })
    expect(hold.status.value).toBe("held")
    expect(hold.secondsLeft.value).toBeGreaterThan(590)
    await hold.extend()
    expect(hold.secondsLeft.value).toBeGreaterThan(1190)
    await hold.setDetails({ customer: { email: "anna@example.org" } })
    await hold.pay({ returnUrl: "https://shop.example/", navigate: () => undefined })
    await hold.confirm()
    expect(hold.status.value).toBe("confirmed")
    await hold.reschedule("2026-12-08T09:00:00.000Z")
    expect(hold.reservation.value).toMatchObject({ start: "2026-12-08T09:00:00.000Z", sequence: 1 })
    const kept = hold.reservation.value!
    expect(await hold.resume({ id: kept.id, secret: "hf_cs_1.x" })).toMatchObject({ id: kept.id })
    await hold.cancel()
    expect(hold.status.value).toBe("cancelled")
    await flushPromises()
    expect(wrapper.find(".hf-summary .hf-money").text()).toBe("€30.00 is on its way back to you.")
    // Every verb about a hold spoke with its secret, and none with the key of the page.
    const spoken = server.asked.filter(({ path }) => path.startsWith("/v1/reservations/res_1"))
    expect(new Set(spoken.map(({ headers }) => headers.get("authorization")))).toEqual(new Set(["Bearer hf_cs_1.x"]))
    const [made] = server.asked.filter(({ method, path }) => method === "POST" && path === "/v1/reservations")
    expect(made!.headers.get("authorization")).toBe("Bearer hf_pk_1")
  })

  it("names the code of a refusal, and does not keep it for the next verb", async () => {
    let hold!: ReturnType<typeof useReservation>
    const wrapper = await shown(() => {
      hold = useReservation()
      return () => h(HoldfirstCalendar, { eventType: "intro" })
    })
    await wrapper.find(".hf-time").trigger("click")
    await flushPromises()
    await expect(hold.confirm()).rejects.toMatchObject({ name: "Refused", code: "payment_required", status: 402 })
    expect(hold.error.value).toMatchObject({ code: "payment_required" })
    await hold.extend()
    expect(hold.error.value).toBeNull()
  })
})

describe("models and parts", () => {
  it("follow the page, and the page follows them", async () => {
    const slot = ref<Slot | null>(null)
    const month = ref("2026-12")
    const wrapper = await shown(() => () =>
      h(HoldfirstCalendar, {
        eventType: "intro", flow: "pick", slot: slot.value, month: month.value,
        "onUpdate:slot": (now: Slot | null) => (slot.value = now), "onUpdate:month": (now: string) => (month.value = now),
      }))
    await wrapper.findAll(".hf-time")[1]!.trigger("click")
    expect(slot.value?.start).toBe(server.slots[1]!.start)
    slot.value = null
    await flushPromises()
    expect(wrapper.find(".hf-time[aria-pressed=true]").exists()).toBe(false)
    month.value = "2027-01"
    await flushPromises()
    expect(wrapper.find(".hf-month-name").text()).toBe("January 2027")
    await wrapper.findAll(".hf-turn")[0]!.trigger("click")
    await flushPromises()
    expect(month.value).toBe("2026-12")
  })

  it("are arranged as the page likes", async () => {
    const wrapper = await shown(() => () =>
      h(HoldfirstRoot, { eventType: "intro" }, () => [h("aside", h(HoldfirstTimes, { flow: "pick" })), h(HoldfirstMonth)]))
    expect(wrapper.findAll("aside .hf-time")).toHaveLength(3)
    expect(wrapper.find(".hf-month").exists()).toBe(true)
    expect(wrapper.find(".hf-zone").exists()).toBe(false)
  })

  it("begin the week and count the hours as they are told", async () => {
    const calendar = () => () => h(HoldfirstCalendar, { eventType: "intro" })
    const first = (wrapper: Awaited<ReturnType<typeof shown>>) => wrapper.find(".hf-grid th").text()
    const british = await shown(calendar, { locale: "en-GB" })
    expect([first(british), british.find(".hf-time").text()]).toEqual(["Mon", "09:00"])
    british.unmount()
    open = []
    const told = await shown(calendar, { locale: "en-GB", firstDayOfWeek: 0, hourCycle: "h12" })
    expect([first(told), told.find(".hf-time").text()]).toEqual(["Sun", expect.stringMatching(/^0?9:00\sam$/)])
  })
})
