// SPDX-License-Identifier: Apache-2.0
// The hosted pages: the same components as in the package, started from what the server wrote into the page.

import { createHoldfirst } from "@holdfirst/vue3"
import "@holdfirst/vue3/style.css"
import { createApp } from "vue"
import { readBootstrap, readWishes, serverRoot } from "./bootstrap"
import BookPage from "./BookPage.vue"
import { firstAnswer } from "./first_answer"
import { alone, joinFrame } from "./frame"
import "./page.css"

const bootstrap = readBootstrap()
const wishes = readWishes(location.search)
const root = document.documentElement
if (wishes.theme) root.dataset["theme"] = wishes.theme
if (wishes.embed) root.dataset["embed"] = wishes.embed

const holdfirst = createHoldfirst({
  baseUrl: serverRoot(bootstrap.page),
  publishableKey: bootstrap.key,
  fetch: firstAnswer(),
  ...(wishes.timeZone ? { timeZone: wishes.timeZone } : {}),
})
holdfirst.client.learnTime(bootstrap.server_time)
// The regional form of the page's language, where the browser has one: it knows how dates are written.
const regional = navigator.languages.find((one) => one.toLowerCase().split("-")[0] === bootstrap.language)
await holdfirst.setLocale(regional ?? bootstrap.language).catch(() => undefined)

const frame =
  window.parent !== window ? joinFrame(bootstrap.event_type.allowed_origins ?? [], holdfirst) : alone
const page = bootstrap.page === "manage" ? (await import("./ManagePage.vue")).default : BookPage
createApp(page, { bootstrap, wishes, frame }).use(holdfirst).mount("#app")
