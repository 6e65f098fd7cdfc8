// SPDX-License-Identifier: Apache-2.0
import { flushPromises, mount } from "@vue/test-utils"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { createSSRApp, defineComponent, h } from "vue"
import { renderToString } from "vue/server-renderer"
import {
  confirm, createHoldfirst, HoldfirstCalendar, HoldfirstMonth, reserve, useCalendar, useReservation, useSelectedTimeSlot,
} from "../src/index"
import { FakeServer, problem } from "./fake_server"

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
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const plugin = () =>
  createHoldfirst({ baseUrl: "https://book.example", publishableKey: "hf_pk_1", fetch: server.fetch, timeZone: "UTC" })

/** A page with one calendar below it, and the composables in the page itself, as an integrator would. */
async function page(props: Record<string, unknown> = {}, calendars = 1) {
  let used!: ReturnType<typeof use>
  const use = () => ({ calendar: useCalendar(), selected: useSelectedTimeSlot(), hold: useReservation() })
  const Page = defineComponent({
    setup() {
      used = use()
      return () =>
        Array.from({ length: calendars }, (_, number) =>
          h(HoldfirstCalendar, { eventType: number === 0 ? "intro" : "other", ...props }))
    },
  })
  const wrapper = mount(Page, { global: { plugins: [plugin()] }, attachTo: document.body })
  open.push(wrapper)
  await flushPromises()
  await flushPromises()
  return { wrapper, ...used }
}

const times = (wrapper: { findAll(selector: string): { text(): string; trigger(event: string): Promise<void> }[] }) =>
  wrapper.findAll(".hf-time")

describe("the article's lines", () => {
  it("reserves the selected slot and confirms by asking the server", async () => {
    const { selected, hold } = await page({ flow: "pick" })
    selected.select(server.slots[0]!)
    await reserve()
    expect(hold.status.value).toBe("held")
    await expect(confirm()).rejects.toMatchObject({ code: "payment_required" })
    await hold.pay({ returnUrl: "https://shop.example/", navigate: () => undefined })
    await confirm()
    expect(hold.status.value).toBe("confirmed")
  })

  it("says what is wrong where several calendars are mounted, or none", async () => {
    await expect(reserve()).rejects.toThrow("No calendar is mounted")
    const { selected } = await page({}, 2)
    await expect(reserve()).rejects.toThrow('2 calendars are mounted: say which with { calendarId }, one of "intro", "other"')
    await expect(confirm({ calendarId: "third" })).rejects.toThrow('No calendar called "third"')
    await expect(reserve({ calendarId: "other" })).rejects.toThrow("No time is selected")
    expect(() => selected.clear()).toThrow("2 calendars are mounted")
  })

  it("does not share state between calendars", async () => {
    const { wrapper } = await page({ flow: "pick" }, 2)
    await times(wrapper)[0]!.trigger("click")
    await reserve({ calendarId: "intro" })
    await expect(reserve({ calendarId: "other" })).rejects.toThrow("No time is selected")
  })

  it("refuses on a server, and says why", async () => {
    vi.stubGlobal("window", undefined)
    await expect(reserve()).rejects.toThrow("there is none on a server")
    vi.unstubAllGlobals()
  })
})

describe("holding", () => {
  it("holds a time at the click, once, however often it is clicked", async () => {
    const { wrapper, hold } = await page()
    const [first] = times(wrapper)
    void first!.trigger("click")
    void first!.trigger("click")
    await flushPromises()
    expect(hold.status.value).toBe("held")
    expect(server.count("POST", "/v1/reservations")).toBe(1)
    expect((await reserve()).id).toBe("res_1")
    expect(server.made).toBe(1)
  })

  it("counts down by the server's clock, on a device that is a day off", async () => {
    server.now = Date.now() + 86_400_000
    const { wrapper, hold } = await page()
    await times(wrapper)[0]!.trigger("click")
    await flushPromises()
    expect(hold.secondsLeft.value).toBeGreaterThan(598)
    expect(hold.secondsLeft.value).toBeLessThanOrEqual(600)
  })

  it("takes the hold up again after a reload", async () => {
    const first = await page()
    await times(first.wrapper)[0]!.trigger("click")
    await flushPromises()
    first.wrapper.unmount()
    open = []
    const second = await page()
    await flushPromises()
    expect(second.hold.reservation.value?.id).toBe("res_1")
    expect(second.wrapper.find(".hf-journey").attributes("data-step")).toBe("details")
  })

  it("forgets a hold that the server does not know", async () => {
    sessionStorage.setItem("holdfirst https://book.example intro ", JSON.stringify({ id: "res_9", secret: "hf_cs_9.x" }))
    const { hold } = await page()
    await flushPromises()
    expect(hold.status.value).toBe("none")
    expect(sessionStorage.getItem("holdfirst https://book.example intro ")).toBeNull()
  })

  it("gives a hold up on the way back, and the time is there again", async () => {
    const { wrapper, hold } = await page()
    await times(wrapper)[0]!.trigger("click")
    await flushPromises()
    await hold.release()
    expect(hold.status.value).toBe("none")
    expect(server.held?.status).toBe("released")
    expect(sessionStorage.length).toBe(0)
  })

  it("says who was faster, and shows what is left", async () => {
    const { wrapper, hold, selected } = await page()
    const gone = server.slots[0]!
    server.slots = server.slots.slice(1)
    await times(wrapper)[0]!.trigger("click")
    await flushPromises()
    expect(selected.justTaken.value?.start).toBe(gone.start)
    expect(wrapper.find("[data-taken]").text()).toContain("Somebody else has just taken")
    expect(times(wrapper)).toHaveLength(2)
    expect(hold.status.value).toBe("none")
  })

  it("keeps a hold whose answer was lost: the same request is sent again", async () => {
    const { wrapper, hold } = await page()
    server.failures = [new TypeError("lost")]
    await times(wrapper)[0]!.trigger("click")
    await new Promise((resolve) => setTimeout(resolve, 600))
    await flushPromises()
    expect(hold.status.value).toBe("held")
    expect(server.made).toBe(1)
  })
})

describe("looking", () => {
  it("jumps to the first free day ahead, and goes by the visitor's zone", async () => {
    const { calendar } = await page()
    expect(calendar.month.value).toBe("2026-12")
    expect(calendar.selectedDay.value).toBe("2026-12-07")
    expect(Object.keys(calendar.days.value)).toEqual(["2026-12-07"])
  })

  it("goes on in the host's zone where the server does not know the browser's", async () => {
    server.failures = [
      new Response(JSON.stringify((await import("./fake_server")).OFFER)),
      problem(422, "invalid_request", { errors: [{ field: "time_zone", message: "is not a zone" }] }),
    ]
    const { calendar } = await page({ timeZone: "Europe/Prague" })
    expect(calendar.timeZone.value).toBe("UTC")
    expect(calendar.status.value).toBe("ready")
  })

  it("says that the server does not answer, and goes on by itself", async () => {
    vi.useFakeTimers()
    server.failures = Array.from({ length: 3 }, () => new TypeError("network"))
    const { wrapper, calendar } = await page()
    await vi.advanceTimersByTimeAsync(1500)
    expect(wrapper.find("[role=alert]").text()).toContain("does not answer")
    await vi.advanceTimersByTimeAsync(5000)
    expect(calendar.status.value).toBe("ready")
    expect(wrapper.find("[role=alert]").exists()).toBe(false)
  })
})

describe("rendering", () => {
  it("renders on a server without a visitor, a clock or a zone", async () => {
    const App = defineComponent({ render: () => h(HoldfirstCalendar, { eventType: "intro" }) })
    const html = await renderToString(createSSRApp(App).use(plugin()))
    expect(html).toContain("hf-skeleton")
    expect(server.asked).toEqual([])
  })

  it("names the missing parent of a part", () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined)
    expect(() => mount(HoldfirstMonth, { global: { plugins: [plugin()] } })).toThrow(
      "<HoldfirstMonth> must be inside a <HoldfirstRoot> or a <HoldfirstCalendar>",
    )
    expect(() => mount(HoldfirstCalendar, { props: { eventType: "intro" } })).toThrow("createHoldfirst")
    warn.mockRestore()
  })
})
