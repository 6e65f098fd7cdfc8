// What the page's scripts will ask first (packages/pages/src/first_answer.ts), asked before they are here.
{
  const { page, key, event_type, host, server_time } = JSON.parse(document.getElementById("holdfirst").textContent)
  if (page === "book" && !/[?&](month|seats|time_zone)=/.test(location.search)) {
    const now = new Date(server_time)
    const inAWeek = new Date(+now + 7 * 864e5)
    const month = (day, more) => new Date(day.getFullYear(), day.getMonth() + more, 1).toISOString()
    const time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone
    const url = new URL(`../../v1/event-types/${event_type.id}/slots`, location)
    const query = { start: month(now, 0), end: month(inAWeek, 1), time_zone, seats: 1, ...(host && { host }), key }
    for (const name in query) url.searchParams.set(name, query[name])
    const call = new AbortController()
    const answer = fetch(url, { credentials: "omit", signal: call.signal })
    answer.catch(() => {})
    window.holdfirstAsked = { url: url.href, answer, stop: () => call.abort() }
  }
}
