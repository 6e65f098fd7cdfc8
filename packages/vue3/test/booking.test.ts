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

describe("what is typed", () => {
  const typed = (wrapper: { find(selector: string): { setValue(text: string): Promise<void> } }) =>
    wrapper.find("[name=name]").setValue("Anna")
  const kept = () => sessionStorage.getItem("holdfirst draft res_1")

  it("is there again after a reload, and in this tab alone", async () => {
    const first = await page()
    await times(first.wrapper)[0]!.trigger("click")
    await flushPromises()
    await typed(first.wrapper)
    first.wrapper.unmount()
    open = []
    const second = await page()
    await flushPromises()
    expect((second.wrapper.find("[name=name]").element as HTMLInputElement).value).toBe("Anna")
    expect(server.asked.some(({ query, body }) => `${query} ${JSON.stringify(body)}`.includes("Anna"))).toBe(false)
  })

  it("goes from the tab when it is sent", async () => {
    const { wrapper, hold } = await page()
    await times(wrapper)[0]!.trigger("click")
    await flushPromises()
    await typed(wrapper)
    expect(kept()).toContain("Anna")
    await hold.setDetails({ customer: { name: "Anna", email: "anna@example.org" } })
    expect(kept()).toBeNull()
  })

  it("goes from the tab with the hold, and goes along to the next one of this page", async () => {
    const { wrapper } = await page()
    await times(wrapper)[0]!.trigger("click")
    await flushPromises()
    await typed(wrapper)
    await wrapper.find(".hf-back button").trigger("click")
    await flushPromises()
    expect(kept()).toBeNull()
    await times(wrapper)[0]!.trigger("click")
    await flushPromises()
    expect((wrapper.find("[name=name]").element as HTMLInputElement).value).toBe("Anna")
  })

  it("is left out where it is not what the form asks", async () => {
    sessionStorage.setItem("holdfirst draft res_1", '{"name":7,"guests":"x","answers":[1],"email":{"a":1}}')
    const { wrapper } = await page()
    await times(wrapper)[0]!.trigger("click")
    await flushPromises()
    expect((wrapper.find("[name=name]").element as HTMLInputElement).value).toBe("")
  })
})

describe("a payment in a window of its own", () => {
  function browserWindow() {
    const opened = {
      closed: false, opener: {}, document: { title: "", body: { textContent: "" } }, replaced: "",
      location: { replace: (url: string) => (opened.replaced = url) }, focus: vi.fn(), close: () => (opened.closed = true),
    }
    return opened
  }
  const standing = (outcome: string, waiting: boolean) => new Response(JSON.stringify({
    reservation: "res_1", status: outcome === "confirmed" ? "confirmed" : "held", outcome, waiting, money: "none",
    start: server.slots[0]!.start, end: server.slots[0]!.end, server_time: new Date(server.now).toISOString(),
  }))

  async function held() {
    const found = await page({ payment: "popup" })
    await times(found.wrapper)[0]!.trigger("click")
    await flushPromises()
    await found.wrapper.find("[name=name]").setValue("Anna")
    await found.wrapper.find("[name=email]").setValue("anna@example.org")
    return found
  }

  it("is opened in the click, led to the checkout, and closed when the server says how it ended", async () => {
    const opened = browserWindow()
    const open = vi.fn(() => opened)
    vi.stubGlobal("open", open)
    const { wrapper, hold } = await held()
    void wrapper.find("[data-submit]").trigger("click")
    expect(open).toHaveBeenCalledTimes(1)
    expect(opened.opener).toBeNull()
    server.standings = [standing("asking", true), standing("confirmed", false)]
    await flushPromises()
    await flushPromises()
    expect(opened.replaced).toBe("https://pay.example/1")
    expect(wrapper.find(".hf-payment [role=status]").text()).toContain("window that has opened")
    await wrapper.find(".hf-payment button").trigger("click")
    expect(opened.focus).toHaveBeenCalled()
    await new Promise((resolve) => setTimeout(resolve, 1400))
    await flushPromises()
    expect(hold.status.value).toBe("confirmed")
    expect(opened.closed).toBe(true)
  })

  it("is said to be closed where it is, and opened again for the same payment", async () => {
    const first = browserWindow()
    const second = browserWindow()
    vi.stubGlobal("open", vi.fn().mockReturnValueOnce(first).mockReturnValueOnce(second))
    const { wrapper } = await held()
    server.standings = [standing("asking", true)]
    await wrapper.find("[data-submit]").trigger("click")
    await flushPromises()
    first.closed = true
    await new Promise((resolve) => setTimeout(resolve, 700))
    expect(wrapper.find(".hf-payment [role=status]").text()).toContain("open it again")
    await wrapper.find(".hf-payment .hf-first").trigger("click")
    await flushPromises()
    expect(second.replaced).toBe("https://pay.example/1")
  })

  it("leaves a link where the browser opened none", async () => {
    vi.stubGlobal("open", vi.fn(() => null))
    const { wrapper } = await held()
    server.standings = [standing("asking", true)]
    await wrapper.find("[data-submit]").trigger("click")
    await flushPromises()
    expect(wrapper.find(".hf-payment [role=status]").text()).toContain("did not open")
    const link = wrapper.find(".hf-payment a")
    expect([link.attributes("href"), link.attributes("target")]).toEqual(["https://pay.example/1", "_blank"])
  })

  it("is closed again where there is nothing to pay at", async () => {
    const opened = browserWindow()
    vi.stubGlobal("open", () => opened)
    const { wrapper } = await held()
    server.failures = [problem(422, "details_missing", { missing: ["customer.name"] })]
    await wrapper.find("[data-submit]").trigger("click")
    await flushPromises()
    expect(opened.closed).toBe(true)
    expect(wrapper.find(".hf-fault").exists()).toBe(true)
  })
})

describe("looking", () => {
  it("jumps to the first free day ahead, and goes by the visitor's zone", async () => {
    const { calendar } = await page()
    expect(calendar.month.value).toBe("2026-12")
    expect(calendar.selectedDay.value).toBe("2026-12-07")
    expect(Object.keys(calendar.days.value)).toEqual(["2026-12-07"])
  })

  it.each([
    ["2026-11-25T12:00:00Z", ["2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"]],
    ["2026-11-10T12:00:00Z", ["2026-12-01T00:00:00.000Z"]],
  ])("asks about the next month along where little is left of this one (%s)", async (now, [thisMonth, nextMonth]) => {
    server.now = Date.parse(now)
    const { calendar } = await page()
    const ends = server.asked.filter((one) => one.path.endsWith("/slots")).map((one) => one.query.get("end"))
    expect(ends[0]).toBe(nextMonth ?? thisMonth)
    expect(ends.length).toBe(nextMonth ? 1 : 2)
    expect(calendar.month.value).toBe("2026-12")
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
