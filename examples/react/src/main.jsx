// SPDX-License-Identifier: Apache-2.0
// The custom element: React 19 passes its attributes on, and its events are listened to like any other's.
import { defineHoldfirstElement } from "@holdfirst/vue3/element"
import "@holdfirst/vue3/style.css"
import React, { useEffect, useRef, useState } from "react"
import { createRoot } from "react-dom/client"

defineHoldfirstElement()

function Booking() {
  const element = useRef(null)
  const [told, setTold] = useState("nothing yet")
  useEffect(() => {
    const calendar = element.current
    const hear = (event) => setTold(`${event.type} ${event.detail?.[0]?.reservation ?? ""}`)
    const types = ["reserved", "released", "confirmed"]
    types.forEach((type) => calendar.addEventListener(type, hear))
    return () => types.forEach((type) => calendar.removeEventListener(type, hear))
  }, [])
  return (
    <main style={{ maxWidth: "56rem", margin: "2rem auto", padding: "0 1rem" }}>
      <holdfirst-calendar
        ref={element}
        base-url={import.meta.env.VITE_HOLDFIRST_URL}
        publishable-key={import.meta.env.VITE_HOLDFIRST_KEY}
        event-type={import.meta.env.VITE_HOLDFIRST_EVENT_TYPE}
      />
      <p role="status" id="told">{told}</p>
    </main>
  )
}

createRoot(document.getElementById("app")).render(<Booking />)
